-- Reads on: the next messages of topics.
-- ARGV: 5 age · 6 the sequence to begin behind · 7 its epoch · 8 how many messages · 9 bytes after which there is no
-- further one · 10 whether any topic is a pattern · 11… topics.
-- Gives epoch, head, unknown, beyond, the facts, how far this page got, whether nothing was left, and of the walk over
-- losses what open.lua gives; then the messages.
local ROWS, EFFORT = 2000, 20000
guard()
expire(num(ARGV[5]), 100)
save()

local after, count, size = num(ARGV[6]), num(ARGV[8]), num(ARGV[9])
if ARGV[7] ~= epoch then after = 0 end
local all = facts(11)
local messages, position, complete = {}, seq, true

-- Channels are merged: of each, some messages are read, and what is taken ends where the first of them has more.
local function merge()
    local active = {}
    for i = 11, #ARGV do
        local ch = ARGV[i]
        local r = record(ch)
        if r and r.n > 0 and r.last > after then active[#active + 1] = ch end
    end
    local found, horizon = {}, nil
    local start = str(after + 1) .. '-0'
    for _, ch in ipairs(active) do
        local r = records[ch]
        local by_count = math.ceil(2 * count / #active) + 1
        local by_size = math.ceil(2 * size / #active / (r.b / r.n + 1)) + 1
        local share = math.min(by_count, by_size)
        if #active == 1 then share = math.min(count, by_size) + 1 end
        local rows = redis.call('XRANGE', E .. 's:' .. ch, start, '+', 'COUNT', share)
        for _, row in ipairs(rows) do
            local _, bytes = sizes_of(row[2][4])
            found[#found + 1] = { seq_of(row[1]), bytes, row[2][6] }
        end
        if #rows == share then
            local last = found[#found][1]
            if not horizon or last < horizon then horizon = last end
        end
    end
    table.sort(found, function(a, b) return a[1] < b[1] end)
    local taken = 0
    for _, each in ipairs(found) do
        if horizon and each[1] > horizon then break end
        if #messages >= count or taken >= size then
            position, complete = num(messages[#messages][1]), false
            return
        end
        messages[#messages + 1] = each
        taken = taken + each[2]
    end
    if horizon then position, complete = horizon, false end
end

-- With a pattern the timeline is gone through, which names the channel of each message.
local function scan()
    local left, taken, from = ROWS, 0, after
    while true do
        local rows = redis.call('XRANGE', T, str(from + 1) .. '-0', '+', 'COUNT', 200)
        for _, row in ipairs(rows) do
            local s, ch = seq_of(row[1]), row[2][2]
            if #messages >= count or taken >= size or left <= 0 or effort > EFFORT then
                position, complete = from, false
                return
            end
            from, left = s, left - 1
            if covers(11, ch) then
                local id = str(s) .. '-0'
                local entry = redis.call('XRANGE', E .. 's:' .. ch, id, id)[1]
                if entry then
                    local _, bytes = sizes_of(row[2][6])
                    messages[#messages + 1] = { s, bytes, entry[2][6] }
                    taken = taken + bytes
                else
                    local r = record(ch)
                    if r then
                        note_loss(r, s, num(row[2][4]), 'evicted')
                    else
                        unknown, log_dirty = math.max(unknown, s), true
                    end
                end
            end
        end
        if #rows < 200 then return end
    end
end

if ARGV[10] == '1' then scan() else merge() end
save()
local answer = { cmsgpack.pack({ epoch, seq, unknown, beyond, all, position, complete, after,
    begin_walk(after, ARGV[10] == '1') }) }
for i, each in ipairs(messages) do answer[i + 1] = each[3] end
return answer
