-- Changes and reads the events of hooks. ARGV: 5 messages, 6 bytes, 7 age, 8 total bytes, 9 channels: the bounds of
-- channels · 10 retentions as in publish.lua · 11 one of
-- `add`, 12 token of the call, 13 MessagePack, for each hook its name, events and bytes at most, and its events, each a
--   channel and its JSON
-- `first`, 12 hook, 13 how many, 14 bytes, 15 the age in milliseconds at which events become dead letters
-- `confirm`, 12 hook, 13 number
-- `dead`, 12 hook, 13 number, 14 reason
-- `backlog`, 12 hook · `names`
-- `acquire`, 12 hook, 13 node, 14 term in milliseconds · `release`, 12 hook, 13 node
-- `disable`, 12 hook · `resume`, 12 hook: whether any node may be the sender
-- Gives of `first` the events, each number, channel, time and JSON; of `confirm` and `dead` whether more may be left; of `acquire`
-- whether the node is the sender, whether the hook is disabled, and how often it was resumed.
MESSAGES, BYTES, AGE, TOTAL, CHANNELS = num(ARGV[5]), num(ARGV[6]), num(ARGV[7]), num(ARGV[8]), num(ARGV[9])
set_retentions(ARGV[10])
local command, name, MOST = ARGV[11], ARGV[12], 200
local SENDER, RUN = P .. 'hooks:sender:' .. (name or ''), P .. 'hooks:run'

local function finish(reply)
    save_hooks()
    save()
    return cmsgpack.pack(reply)
end

if command == 'add' then
    if redis.call('SET', P .. 'hooks:added:' .. name, '1', 'NX', 'PX', 120000) then
        for _, each in ipairs(cmsgpack.unpack(ARGV[13])) do
            for i = 1, #each[4], 2 do add_event(each[1], each[4][i], each[4][i + 1]) end
            trim_hook(each[1], each[2], each[3])
        end
    end
    return finish(true)
end
if command == 'first' then
    local before, left, found = ms - num(ARGV[15]), num(ARGV[14]), {}
    dead_letters(name, oldest(name, MOST, function(row) return num(row[2][4]) < before end), 'age')
    local rows = oldest(name, num(ARGV[13]), function(row)
        if left <= 0 then return false end
        left = left - #row[2][6]
        return true
    end)
    for i, row in ipairs(rows) do found[i] = { str(seq_of(row[1])), row[2][2], row[2][4], row[2][6] } end
    return finish(found)
end
if command == 'confirm' then
    local through = num(ARGV[13])
    local rows = oldest(name, MOST, function(row) return seq_of(row[1]) <= through end)
    remove(name, rows)
    return finish(#rows == MOST)
end
if command == 'dead' then
    local through = num(ARGV[13])
    local rows = oldest(name, MOST, function(row) return seq_of(row[1]) <= through end)
    dead_letters(name, rows, ARGV[14])
    return finish(#rows == MOST)
end
if command == 'backlog' then
    local h, first = hook_of(name), redis.call('XRANGE', QUEUE .. name, '-', '+', 'COUNT', 1)[1]
    return cmsgpack.pack({ first and h.n or 0, first and h.b or 0, first and first[2][4] or '', h.dead })
end
if command == 'names' then return cmsgpack.pack(redis.call('SMEMBERS', HOOKS)) end
if command == 'disable' then
    redis.call('HSET', STATE_OF .. name, 'disabled', '1')
    return cmsgpack.pack(true)
end
if command == 'resume' then
    redis.call('HDEL', STATE_OF .. name, 'disabled')
    redis.call('HINCRBY', STATE_OF .. name, 'resumed', 1)
    return cmsgpack.pack(true)
end
local holder = redis.call('GET', SENDER)
if command == 'release' then
    if holder == ARGV[13] then redis.call('DEL', SENDER) end
    return cmsgpack.pack(true)
end
-- After a restart or a failover Redis may have forgotten a sender, which goes on for as long as its term.
local shared = redis.call('HMGET', STATE_OF .. name, 'disabled', 'resumed')
local function right(is_sender) return cmsgpack.pack({ is_sender, shared[1] == '1', num(shared[2]) }) end
if shared[1] == '1' then
    if holder == ARGV[13] then redis.call('DEL', SENDER) end
    return right(false)
end
local term, known = num(ARGV[14]), redis.call('HMGET', RUN, 'run', 'since')
if known[1] ~= ARGV[3] then
    known[2] = known[1] and str(ms) or '0'
    redis.call('HSET', RUN, 'run', ARGV[3], 'since', known[2])
end
if holder and holder ~= ARGV[13] then return right(false) end
if not holder and ms < num(known[2]) + term then return right(false) end
redis.call('SET', SENDER, ARGV[13], 'PX', str(term))
return right(true)
