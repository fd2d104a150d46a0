-- Tells what has become of topics, and finds the place of a time.
-- ARGV: 5 age · 6 `at`, `time`, `now` or `` · 7 a sequence or unix milliseconds · 8 the epoch of that sequence · 9
-- whether any topic is a pattern · 10… topics.
-- Gives epoch, head, unknown, beyond, time, the place of the time, and the facts; then of the walk over losses the
-- sequence behind which it looks, the number of the newest change, the first channels, and where to go on.
guard()
expire(num(ARGV[5]), 100)
save()
local all = facts(10)

-- The messages stand in the timeline by sequence; their times grow with it, unless a clock was set back.
local function place_of(time)
    local low, high = 0, seq
    while low < high do
        local middle = math.floor((low + high) / 2)
        local row = redis.call('XRANGE', T, str(middle + 1) .. '-0', '+', 'COUNT', 1)[1]
        if not row or num(row[2][4]) >= time then
            high = middle
        else
            low = seq_of(row[1])
        end
    end
    return low
end

local kind, value = ARGV[6], num(ARGV[7])
local place, after = 0, 0
if kind == 'time' then
    place = place_of(value)
elseif kind == 'now' then
    after = seq
elseif kind == 'at' and ARGV[8] == epoch then
    if value <= seq then
        after = value
        prove(value)
    end
end
save()
return cmsgpack.pack({ epoch, seq, unknown, beyond, ms, place, all, after, begin_walk(after, ARGV[9] == '1') })
