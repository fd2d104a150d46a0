-- What all scripts share: the state of the log, the records of channels, and how messages are let go.
-- KEYS[1] the log · ARGV[1] prefix of all keys · [2] an epoch that never was · [3] which run of Redis the caller is
-- connected to · [4] prefix of all pub/sub channels · the rest is each script's own.
--
-- PREFIX log            hash: epoch, seq, run, n and b (messages and bytes kept), unknown, beyond, forgets
-- PREFIX EPOCH :t       stream: the timeline, an entry for each kept message: its channel, time, data and size in bytes
-- PREFIX EPOCH :s:CH    stream: the messages of a channel
-- PREFIX EPOCH :c:CH    hash: the record of a channel
-- PREFIX EPOCH :names, :live, :idle, :gone, :lost, :ended, :ttl    sorted sets of channels; :ttl has messages
-- PREFIX EPOCH :leaps   list: where sequences were left out, because Redis may have forgotten that it had given them
local P, LOG, F = ARGV[1], KEYS[1], ARGV[4]
local BOOKKEEPING = 400
local clock = redis.call('TIME')
local ms = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function num(value) return tonumber(value or 0) or 0 end
local function str(number) return string.format('%.0f', number) end
local function seq_of(id) return tonumber(string.match(id, '^%d+')) end

local log = redis.call('HMGET', LOG, 'epoch', 'seq', 'n', 'b', 'unknown', 'beyond', 'forgets', 'run')
local epoch, seq, kept, cost = log[1], num(log[2]), num(log[3]), num(log[4])
local unknown, beyond, forgets, run = num(log[5]), num(log[6]), num(log[7]), log[8]
local log_dirty = false
if not epoch then
    epoch, run = ARGV[2], ARGV[3]
    redis.call('HSET', LOG, 'epoch', epoch, 'seq', 0, 'run', run)
end
local E = P .. epoch .. ':'
local T = E .. 't'

local records = {}

local function record(ch)
    local r = records[ch]
    if r == nil then
        local v = redis.call('HMGET', E .. 'c:' .. ch, 'last', 'at', 'ended', 'lost', 'lat', 'why', 'n', 'b', 'gone')
        r = v[1] and {
            last = num(v[1]), at = num(v[2]), ended = num(v[3]), lost = num(v[4]), lat = num(v[5]), why = v[6],
            n = num(v[7]), b = num(v[8]), gone = num(v[9]),
        }
        records[ch] = r
    end
    return r
end

local function drop_record(ch)
    redis.call('DEL', E .. 'c:' .. ch)
    redis.call('ZREM', E .. 'lost', ch)
    redis.call('ZREM', E .. 'ended', ch)
    records[ch] = false
end

-- Writes back what has changed. Every script that changes anything calls it last.
local function save()
    for ch, r in pairs(records) do
        if r and r.dirty then
            redis.call('HSET', E .. 'c:' .. ch, 'last', r.last, 'at', r.at, 'ended', r.ended, 'lost', r.lost,
                'lat', r.lat, 'why', r.why, 'n', r.n, 'b', r.b, 'gone', r.gone)
        end
    end
    if log_dirty then
        redis.call('HSET', LOG, 'seq', seq, 'n', kept, 'b', cost, 'unknown', unknown, 'beyond', beyond,
            'forgets', forgets)
    end
end

local function note_loss(ch, r, s, at, why)
    if s > r.lost then
        r.lost, r.lat, r.why = s, at, why
        redis.call('ZADD', E .. 'lost', s, ch)
    end
    r.dirty = true
end

local has_ttl = nil

local function lose(ch, s, at, data, size, why)
    local r = record(ch)
    local id = str(s) .. '-0'
    redis.call('XDEL', E .. 's:' .. ch, id)
    redis.call('XDEL', T, id)
    if has_ttl == nil then has_ttl = redis.call('EXISTS', E .. 'ttl') == 1 end
    if has_ttl then redis.call('ZREM', E .. 'ttl', str(s) .. ':' .. ch) end
    kept, cost, log_dirty = kept - 1, cost - size - BOOKKEEPING, true
    r.n, r.b = r.n - 1, r.b - data
    note_loss(ch, r, s, at, why)
    if r.n == 0 then
        redis.call('DEL', E .. 's:' .. ch)
        redis.call('ZREM', E .. 'live', ch)
        redis.call('ZADD', E .. 'idle', seq, ch)
    end
end

local function lose_oldest(ch, why)
    local row = redis.call('XRANGE', E .. 's:' .. ch, '-', '+', 'COUNT', 1)[1]
    if row then
        local f = row[2]
        lose(ch, seq_of(row[1]), num(f[2]), num(f[4]), num(f[6]), why)
        return
    end
    -- Somebody else has deleted the stream, Redis itself perhaps, where its policy is to evict keys.
    local r = record(ch)
    kept, log_dirty = math.max(kept - r.n, 0), true
    r.n, r.b = 0, 0
    note_loss(ch, r, r.last, r.at, why)
    redis.call('ZREM', E .. 'live', ch)
    redis.call('ZADD', E .. 'idle', seq, ch)
end

-- Lets go of what is too old: at most about `most` messages, so that nobody waits. Gives whether that was all.
local function expire(age, most)
    local horizon = ms - age
    while most > 0 do
        local rows = redis.call('XRANGE', T, '-', '+', 'COUNT', most < 20 and most or 20)
        local done = #rows == 0
        for _, row in ipairs(rows) do
            local f = row[2]
            if num(f[4]) >= horizon then
                done = true
                break
            end
            lose(f[2], seq_of(row[1]), num(f[4]), num(f[6]), num(f[8]), 'expired')
            most = most - 1
        end
        if done then break end
    end
    local due = redis.call('ZRANGEBYSCORE', E .. 'ttl', '-inf', ms, 'LIMIT', 0, most > 0 and most or 1)
    for _, member in ipairs(due) do
        local s, ch = string.match(member, '^(%d+):(.*)$')
        local row = redis.call('XRANGE', T, s .. '-0', s .. '-0')[1]
        if row then
            lose(ch, tonumber(s), num(row[2][4]), num(row[2][6]), num(row[2][8]), 'expired')
        else
            redis.call('ZREM', E .. 'ttl', member)
        end
        most = most - 1
    end
    return most > 0
end

-- A cursor from where sequences were left out is the proof that messages up to there are lost: whoever comes back
-- with an older one has to be told. Gives whether this is news.
local function prove(s)
    if s <= beyond then return false end
    for _, leap in ipairs(redis.call('LRANGE', E .. 'leaps', 0, -1)) do
        local from, to = string.match(leap, '(%d+) (%d+)')
        if s > tonumber(from) and s <= tonumber(to) then
            beyond, log_dirty = s, true
            redis.call('PUBLISH', F .. 'all', 'beyond ' .. epoch .. ' ' .. str(s))
            return true
        end
    end
    return false
end
