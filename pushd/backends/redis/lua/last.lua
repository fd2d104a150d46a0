-- Finds where the newest messages of topics begin, going back through the timeline.
-- ARGV: 5 age · 6 how many · 7 the newest sequence to look at, or `+` · 8… topics.
-- Gives epoch, head, the place before the oldest that was found, how many are still to be found, and where to go on.
local ROWS, EFFORT = 5000, 20000
expire(num(ARGV[5]), 100)

local wanted, upto = num(ARGV[6]), ARGV[7]
local place, more = seq, ''
if #ARGV == 8 and not string.find(ARGV[8], '*', 1, true) then
    local ch = ARGV[8]
    local r = record(ch)
    local rows = {}
    if r and r.n > 0 and r.n <= wanted then
        rows = redis.call('XRANGE', E .. 's:' .. ch, '-', '+', 'COUNT', 1)
    elseif r and r.n > 0 then
        rows = redis.call('XREVRANGE', E .. 's:' .. ch, '+', '-', 'COUNT', wanted)
    end
    if #rows > 0 then place = seq_of(rows[#rows][1]) - 1 end
    wanted = 0
else
    local left = ROWS
    upto = upto == '+' and '+' or upto .. '-0'
    while wanted > 0 and left > 0 and effort <= EFFORT do
        local rows = redis.call('XREVRANGE', T, upto, '-', 'COUNT', 200)
        for _, row in ipairs(rows) do
            local s = seq_of(row[1])
            upto = str(s - 1) .. '-0'
            more = str(s - 1)
            if wanted > 0 and covers(8, row[2][2]) then
                place, wanted = s - 1, wanted - 1
            end
            if effort > EFFORT then break end
        end
        left = left - 200
        if #rows < 200 and effort <= EFFORT then
            more = ''
            break
        end
    end
    if wanted == 0 then more = '' end
end
save()
return cmsgpack.pack({ epoch, seq, place, wanted, more })
