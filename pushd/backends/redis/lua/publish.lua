-- Appends messages to the log, one by one in their order, and publishes them to the nodes.
-- ARGV: 5 messages, 6 bytes, 7 age, 8 total bytes, 9 channels: the bounds · 10 node, 11 number: who asks, and for the
-- how many-th time · 12 the run of Redis in which this was asked before, empty if never · 13 the time after which nobody
-- waits for the answer · 14 key under which a repeat gets the first answer · 15 MessagePack, seven values for each
-- message: channel, body, bytes of data and size as one text, time to live, kind (0, 1 an end, 2 only the mark of an end, 3
-- ephemeral), the number of its subscribers at that node, the body to publish in place of the one to keep, empty where it
-- is the same · 16 a digest of the body that was sent with the key · 17 the epoch in which this was asked before · 18
-- MessagePack, four values for each channel with a retention of its own: its name, messages, bytes and age, 0 for that of
-- all channels; empty where there is none.
-- Gives status, epoch, and for each message its sequence (-1: too many channels), that of the one before it, its time
-- and how many were told to hear it.
MESSAGES, BYTES, AGE, TOTAL, CHANNELS = num(ARGV[5]), num(ARGV[6]), num(ARGV[7]), num(ARGV[8]), num(ARGV[9])
local ANSWERS, KEY = P .. 'a:' .. ARGV[10], P .. 'i:' .. ARGV[14]
local REMEMBERED_MS, REMEMBERED, TIDIED = 120000, 64, 16
local KEY_BYTES, KEY_OVERHEAD = 32 * 1024 * 1024, 300

-- Remembers what is answered to a repeat with the key; forgets the oldest keys where all of them take too many bytes.
local function remember(answer)
    local keys, bytes = E .. 'keys', num(log[13])
    local size = #answer + 2 * #KEY + KEY_OVERHEAD
    redis.call('SET', KEY, answer, 'PX', REMEMBERED_MS)
    redis.call('ZADD', keys, ms, str(size) .. ' ' .. KEY)
    bytes = bytes + size
    local function forget(member)
        local old, name = string.match(member, '^(%d+) (.*)$')
        bytes = bytes - num(old)
        return name
    end
    local over = redis.call('ZRANGEBYSCORE', keys, '-inf', ms - REMEMBERED_MS, 'LIMIT', 0, 100)
    for _, member in ipairs(over) do forget(member) end
    if #over > 0 then redis.call('ZREM', keys, unpack(over)) end
    while bytes > KEY_BYTES do
        local member = redis.call('ZPOPMIN', keys)[1]
        if not member then bytes = 0 else redis.call('DEL', forget(member)) end
    end
    redis.call('PEXPIRE', keys, 2 * REMEMBERED_MS)
    redis.call('HSET', LOG, 'keys', bytes)
end

-- Of two copies of a call the first counts, be it the second that comes first.
local answered = redis.call('HGET', ANSWERS, ARGV[11])
if answered then return answered end
if ARGV[14] ~= '' then
    local before = redis.call('GET', KEY)
    if before then
        local digest = ARGV[16]
        if string.sub(before, 1, #digest) ~= digest then return cmsgpack.pack({ 'mismatch', epoch, {} }) end
        return string.sub(before, #digest + 1)
    end
end
if ARGV[12] ~= '' and (ARGV[12] ~= ARGV[3] or ARGV[17] ~= epoch) then
    local lost = cmsgpack.pack({ 'lost', epoch, {} })
    if ARGV[14] ~= '' then remember(ARGV[16] .. lost) end
    return lost
end
if ms > num(ARGV[13]) then return cmsgpack.pack({ 'late', epoch, {} }) end

-- Publishes an ephemeral message. No other message has its number, so that a node recognizes copies of it.
-- Before the first one something is written, so that a Redis that accepts no writes refuses the call before it is sent.
local may_write = false
local function pass_on(ch, body, number, live)
    if not may_write then redis.call('HSET', ANSWERS, 'e', ARGV[11]) end
    may_write = true
    local head = table.concat({ 'e', epoch, str(seq), MS, number }, ' ')
    redis.call('PUBLISH', F .. 'f:' .. ch, head .. '\n' .. (live == '' and body or live))
    return seq, 0
end

if (ARGV[18] or '') ~= '' then
    local own = cmsgpack.unpack(ARGV[18])
    for i = 1, #own, 4 do retentions[own[i]] = { own[i + 1], own[i + 2], own[i + 3] } end
end

expire(AGE, 100)
local told, given = {}, cmsgpack.unpack(ARGV[15])
for i = 1, #given, 7 do
    local s, prev
    if given[i + 4] == 3 then
        s, prev = pass_on(given[i], given[i + 1], table.concat({ ARGV[10], ARGV[11], str(i) }, ':'), given[i + 6])
    else
        s, prev = accept(given[i], given[i + 1], given[i + 2], given[i + 3], given[i + 4], given[i + 6])
    end
    local n = #told
    told[n + 1], told[n + 2], told[n + 3], told[n + 4] = s, prev, ms, given[i + 5]
end
save()
redis.call('HSET', ANSWERS, ARGV[11], cmsgpack.pack({ 'ok', epoch, told }))
if num(ARGV[11]) % TIDIED == 1 then
    local old = num(ARGV[11]) - REMEMBERED
    for number = old - TIDIED, old do redis.call('HDEL', ANSWERS, str(number)) end
    redis.call('PEXPIRE', ANSWERS, REMEMBERED_MS)
end
if ARGV[14] ~= '' then remember(ARGV[16] .. cmsgpack.pack({ 'again', epoch, told })) end
return cmsgpack.pack({ 'ok', epoch, told })
