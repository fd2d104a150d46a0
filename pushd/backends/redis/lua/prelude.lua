-- What all scripts share: the state of the log, the records of channels, and how messages are let go.
-- KEYS[1] the log · ARGV[1] prefix of all keys · [2] an epoch that never was · [3] which run of Redis the caller is
-- connected to · [4] prefix of all pub/sub channels · the rest is each script's own.
--
-- PREFIX log            hash: epoch, seq, run, n and b (messages and bytes kept), unknown, beyond, forgets; keys (bytes
--                       of idempotency keys); walk (until when losses are journaled) and changes (how many were);
--                       events and dead (bytes kept of presence events and of dead letters, which are not in b); ages (whether a channel has had an
--                       age of its own) and aged (up to where all rows that are left in the timeline are of such channels,
--                       unless they are new)
-- PREFIX EPOCH :t       stream: the timeline, for each kept message its channel (c), time (t), bytes of data and size (z),
--                       and a mark where it has a time to live of its own (l)
-- PREFIX EPOCH :s:CH    stream: the messages of a channel: t, z, the message (m), and l
-- PREFIX EPOCH :c:CH    hash: the record of a channel; age only where it has one of its own, in milliseconds
-- PREFIX EPOCH :aging    sorted set: the channels with an age of their own, by when their oldest message expires or earlier
-- PREFIX EPOCH :names, :live, :idle, :gone, :lost, :ended, :ttl    sorted sets of channels; :ttl has messages
-- PREFIX EPOCH :events:live, :events:idle, :dead:live, :dead:idle    instead of :live and :idle for the channels of
--                       presence events and of dead letters
--                       The empty name is always in :names and :lost: where it is missing, Redis has evicted the set
-- PREFIX EPOCH :changes stream: the journal of losses, for each its channel and what that had lost before: see losses.lua
-- PREFIX EPOCH :keys   sorted set: the idempotency keys by their time, each with its bytes
-- PREFIX EPOCH :leaps   list: where sequences were left out, because Redis may have forgotten that it had given them
local P, LOG, F = ARGV[1], KEYS[1], ARGV[4]
local BOOKKEEPING = 400
local clock = redis.call('TIME')
local ms = clock[1] * 1000 + math.floor((clock[2] + 500) / 1000)

local function num(value) return tonumber(value or 0) or 0 end
local function str(number) return string.format('%.0f', number) end
local function seq_of(id) return tonumber(string.match(id, '^%d+')) end
local function sizes_of(text)
    local data, size = string.match(text, '(%d+) (%d+)')
    return tonumber(data), tonumber(size)
end

local log = redis.call('HMGET', LOG, 'epoch', 'seq', 'n', 'b', 'unknown', 'beyond', 'forgets', 'run', 'ttl',
    'walk', 'changes', 'guarded', 'keys', 'events', 'ages', 'aged', 'dead')
local epoch, seq, kept, cost = log[1], num(log[2]), num(log[3]), num(log[4])
local unknown, beyond, forgets, run, has_ttl = num(log[5]), num(log[6]), num(log[7]), log[8], log[9]
local walk, changes, event_cost, dead_cost = num(log[10]), num(log[11]), num(log[14]), num(log[17])
local guarded, log_dirty = log[12], false
local has_ages, aged = log[15], num(log[16])
-- The timeline has a row for each kept message. Where it has none, Redis has evicted it: a new epoch begins.
if not epoch or (kept > 0 and redis.call('XLEN', P .. epoch .. ':t') == 0) then
    epoch, run, guarded, has_ttl, has_ages, aged = ARGV[2], ARGV[3], '1', false, false, 0
    seq, kept, cost, unknown, beyond, forgets, walk, changes, log[13], event_cost, dead_cost = 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
    redis.call('DEL', LOG)
    redis.call('HSET', LOG, 'epoch', epoch, 'seq', 0, 'run', run, 'guarded', guarded)
    redis.call('ZADD', P .. epoch .. ':names', 0, '')
    redis.call('ZADD', P .. epoch .. ':lost', 0, '')
end
local E = P .. epoch .. ':'
local T = E .. 't'

-- Finds out whether Redis has evicted the names or the losses of channels: then every cursor of a pattern or of an unknown
-- channel gets a gap. To be called before these sets are read or written.
local is_guarded = not guarded
local function guard()
    if is_guarded then return end
    is_guarded = true
    for _, set in ipairs({ 'names', 'lost' }) do
        if redis.call('ZADD', E .. set, 'NX', 0, '') == 1 then unknown, log_dirty = seq, true end
    end
end

-- Has the timeline looked through from its start: rows that were left there have to go now.
local function look_again()
    if has_ages then aged, log_dirty = 0, true end
end

-- The channels of presence events, and those of dead letters, have bounds of their own, so that they and others evict
-- nothing of each other.
local PRESENCE, DEAD = '$presence/', '$hooks/dead/'
local has_dead = false
local function group_of(ch)
    if string.byte(ch) ~= 36 then return '' end
    if string.sub(ch, 1, #PRESENCE) == PRESENCE then return 'events:' end
    return string.sub(ch, 1, #DEAD) == DEAD and 'dead:' or ''
end
local function live_of(ch) return E .. group_of(ch) .. 'live' end
local function idle_of(ch) return E .. group_of(ch) .. 'idle' end
local function add_cost(ch, more)
    local group = group_of(ch)
    if group == '' then
        cost = cost + more
    elseif group == 'events:' then
        event_cost = event_cost + more
    else
        dead_cost, has_dead = dead_cost + more, true
    end
end
local function cost_of(group)
    return group == '' and cost or group == 'events:' and event_cost or dead_cost
end
local function channels_of(group)
    return redis.call('ZCARD', E .. group .. 'live') + redis.call('ZCARD', E .. group .. 'idle')
end

local function channels()
    return redis.call('ZCARD', E .. 'names') - (guarded and 1 or 0) - channels_of('events:') - channels_of('dead:')
end

-- Records are read once and written back by `save`. Beside what is in Redis they hold, of a channel that loses its oldest
-- messages, the rows that go next and the ids that are to be deleted: so a batch of messages needs few calls.
local records = {}
local deleted = {}

-- The record of a channel that Redis has evicted: all that the channel had counts as lost. False if it is not known.
local function replacement(ch)
    if ch == '' then return false end
    local is_known = redis.call('ZSCORE', E .. 'names', ch)
    if not is_known and not redis.call('ZSCORE', E .. 'gone', ch) then return false end
    redis.call('DEL', E .. 's:' .. ch)
    redis.call('ZREM', live_of(ch), ch)
    redis.call('ZREM', E .. 'ended', ch)
    if is_known then redis.call('ZADD', idle_of(ch), seq, ch) end
    look_again()
    return {
        last = 0, at = ms, ended = 0, lost = seq, lat = ms, why = 'evicted', n = 0, b = 0, gone = is_known and 0 or 1, age = 0,
        dirty = true, has_lost = true, old = { 0, 0, '' },
    }
end

local function record(ch)
    local r = records[ch]
    if r == nil then
        local v = redis.call('HMGET', E .. 'c:' .. ch, 'last', 'at', 'ended', 'lost', 'lat', 'why', 'n', 'b', 'gone',
            'age')
        r = v[1] and {
            last = num(v[1]), at = num(v[2]), ended = num(v[3]), lost = num(v[4]), lat = num(v[5]), why = v[6],
            n = num(v[7]), b = num(v[8]), gone = num(v[9]), age = num(v[10]),
        } or replacement(ch)
        records[ch] = r
    end
    return r
end

-- While somebody walks over the losses, a bit at a time, each change is noted with what was true before. Where a record
-- is about to change, `old` keeps that.
local function keep_old(r)
    if ms <= walk and not r.old then r.old = { r.lost, r.lat, r.why } end
end

local function journal(ch, old)
    if ms > walk then return end
    changes = changes + 1
    redis.call('XADD', E .. 'changes', 'MAXLEN', '~', 10000, str(changes) .. '-0', 'c', ch, 'l', str(old[1]),
        'a', str(old[2]), 'w', old[3])
    redis.call('PEXPIRE', E .. 'changes', 60000)
    redis.call('HSET', LOG, 'changes', changes)
end

local function drop_record(ch)
    local r = record(ch)
    if r then
        keep_old(r)
        journal(ch, r.old)
    end
    redis.call('DEL', E .. 'c:' .. ch)
    redis.call('ZREM', E .. 'lost', ch)
    redis.call('ZREM', E .. 'ended', ch)
    if has_ages then redis.call('ZREM', E .. 'aging', ch) end
    records[ch] = false
end

local function delete_rows(key, ids)
    for first = 1, #ids, 500 do
        redis.call('XDEL', key, unpack(ids, first, math.min(first + 499, #ids)))
    end
end

-- Writes back what has changed. Every script that changes anything calls it last.
local function save()
    for ch, r in pairs(records) do
        if r and r.dirty then
            if r.ids and r.n > 0 then delete_rows(E .. 's:' .. ch, r.ids) end
            if r.has_lost then
                guard()
                redis.call('ZADD', E .. 'lost', r.lost, ch)
                journal(ch, r.old)
                r.old = nil
            end
            if r.used then redis.call('ZADD', live_of(ch), r.used, ch) end
            redis.call('HSET', E .. 'c:' .. ch, 'last', r.last, 'at', r.at, 'ended', r.ended, 'lost', r.lost,
                'lat', r.lat, 'why', r.why, 'n', r.n, 'b', r.b, 'gone', r.gone)
            r.dirty, r.has_lost, r.used, r.ids, r.rows = false, false, nil, nil, nil
        end
    end
    if #deleted > 0 then delete_rows(T, deleted) end
    deleted = {}
    if log_dirty then
        redis.call('HSET', LOG, 'seq', seq, 'n', kept, 'b', cost, 'unknown', unknown, 'beyond', beyond,
            'forgets', forgets, 'events', event_cost)
        if has_dead then redis.call('HSET', LOG, 'dead', dead_cost) end
        if has_ages then redis.call('HSET', LOG, 'aged', aged) end
    end
end

local function note_loss(r, s, at, why)
    if s > r.lost then
        keep_old(r)
        r.lost, r.lat, r.why, r.has_lost = s, at, why, true
    end
    r.dirty = true
end

local function empty(ch, r)
    redis.call('DEL', E .. 's:' .. ch)
    redis.call('ZREM', live_of(ch), ch)
    redis.call('ZADD', idle_of(ch), seq, ch)
    r.b, r.used, r.ids, r.rows = 0, nil, nil, nil
end

-- Counts a row of the timeline out; gives its bytes of data.
local function discount(ch, sizes)
    local data, size = sizes_of(sizes)
    kept, log_dirty = kept - 1, true
    add_cost(ch, -size - BOOKKEEPING)
    return data
end

local function count_out(ch, r, id, at, sizes, is_mortal, why)
    local s = seq_of(id)
    deleted[#deleted + 1] = id
    if is_mortal then redis.call('ZREM', E .. 'ttl', str(s) .. ':' .. ch) end
    r.n, r.b = r.n - 1, r.b - discount(ch, sizes)
    note_loss(r, s, at, why)
    if r.n == 0 then empty(ch, r) end
end

local function lose_oldest(ch, why)
    local r = record(ch)
    if not r.rows or r.next > #r.rows then
        r.rows = redis.call('XRANGE', E .. 's:' .. ch, r.from or '-', '+', 'COUNT', r.rows and 16 or 1)
        r.next = 1
    end
    local row = r.rows[r.next]
    if not row then
        -- Redis has evicted the stream. The rows of its messages in the timeline go when they expire.
        r.n = 0
        note_loss(r, r.last, r.at, why)
        empty(ch, r)
        look_again()
        return
    end
    local id, f = row[1], row[2]
    r.next, r.from = r.next + 1, str(seq_of(id) + 1) .. '-0'
    r.ids = r.ids or {}
    r.ids[#r.ids + 1] = id
    count_out(ch, r, id, num(f[2]), f[4], f[8], why)
end

-- Lets go of a message anywhere. Not to be used between `lose_oldest` and `save`.
local function lose(id, f, why)
    local ch = f[2]
    local r = record(ch)
    if not r or redis.call('XDEL', E .. 's:' .. ch, id) == 0 then
        -- Redis has evicted the channel or its stream.
        redis.call('XDEL', T, id)
        discount(ch, f[6])
        if r then note_loss(r, seq_of(id), num(f[4]), 'evicted') else unknown = math.max(unknown, seq_of(id)) end
        return
    end
    count_out(ch, r, id, num(f[4]), f[6], f[8], why)
end

-- The record of a channel, compared with its stream, which Redis may have evicted. To be called after `save`.
local function checked(ch)
    local r = record(ch)
    if not r or r.n == 0 then return r end
    local rows = redis.call('XLEN', E .. 's:' .. ch)
    if rows >= r.n then return r end
    local first = redis.call('XRANGE', E .. 's:' .. ch, '-', '+', 'COUNT', 1)[1]
    note_loss(r, first and seq_of(first[1]) - 1 or r.last, r.at, 'evicted')
    r.n, r.b = rows, math.floor(r.b * rows / r.n)
    if rows == 0 then empty(ch, r) end
    return r
end

-- Gives a channel an age of its own, in milliseconds; with 0 that of all channels.
local function set_age(ch, r, age)
    r.age = age
    if age > 0 then
        if not has_ages then redis.call('HSET', LOG, 'ages', 1) end
        has_ages = true
        redis.call('HSET', E .. 'c:' .. ch, 'age', age)
        redis.call('ZADD', E .. 'aging', 0, ch)
    else
        redis.call('HDEL', E .. 'c:' .. ch, 'age')
        redis.call('ZREM', E .. 'aging', ch)
        look_again()
    end
end

-- Lets go of at most `most` messages of a channel that are too old for an age of its own; gives how many there were.
local function expire_channel(ch, most)
    local r = record(ch)
    if not r or r.age == 0 or r.n == 0 then
        redis.call('ZREM', E .. 'aging', ch)
        return 0
    end
    local count, due = 0, ms
    local rows = redis.call('XRANGE', E .. 's:' .. ch, '-', '+', 'COUNT', math.min(most, 100) + 1)
    for _, row in ipairs(rows) do
        local f = row[2]
        if num(f[2]) >= ms - r.age or count >= most then
            due = num(f[2]) + r.age
            break
        end
        lose(row[1], { 'c', ch, 't', f[2], 'z', f[4], 'l', f[8] }, 'expired')
        count = count + 1
    end
    if #rows == 0 then lose_oldest(ch, 'evicted') end
    if r.n == 0 then
        redis.call('ZREM', E .. 'aging', ch)
    else
        redis.call('ZADD', E .. 'aging', due, ch)
    end
    return count
end

-- Whether a row of the timeline is kept longer than the age of all channels.
local function outlives(f)
    local r = has_ages and record(f[2])
    return r and r.age > 0 and r.n > 0 and num(f[4]) >= ms - r.age
end

-- Lets go of what is too old: at most about `most` messages, so that nobody waits. Gives whether that was all.
local function expire(age, most)
    local horizon, from = ms - age, aged > 0 and str(aged + 1) .. '-0' or '-'
    local rows = redis.call('XRANGE', T, from, '+', 'COUNT', 1)
    while #rows > 0 and most > 0 do
        for _, row in ipairs(rows) do
            if num(row[2][4]) >= horizon then
                rows = {}
                break
            end
            if outlives(row[2]) then
                aged, log_dirty = seq_of(row[1]), true
            else
                lose(row[1], row[2], 'expired')
            end
            most, from = most - 1, str(seq_of(row[1]) + 1) .. '-0'
        end
        if #rows > 0 then rows = redis.call('XRANGE', T, from, '+', 'COUNT', 20) end
    end
    if has_ages then
        for _, ch in ipairs(redis.call('ZRANGEBYSCORE', E .. 'aging', '-inf', '(' .. ms, 'LIMIT', 0, 20)) do
            if most > 0 then most = most - 1 - expire_channel(ch, most) end
        end
    end
    if not has_ttl then return most > 0 end
    local due = redis.call('ZRANGEBYSCORE', E .. 'ttl', '-inf', ms, 'LIMIT', 0, most > 0 and most or 1)
    for _, member in ipairs(due) do
        local id = string.match(member, '^%d+') .. '-0'
        local row = redis.call('XRANGE', T, id, id)[1]
        redis.call('ZREM', E .. 'ttl', member)
        if row then lose(id, row[2], 'expired') end
        most = most - 1
    end
    return most > 0
end

-- A cursor from where sequences were left out is the proof that messages up to there are lost: whoever comes back
-- with an older one has to be told. The end of a leap is no proof: it is the head of the log until the next message,
-- and so a cursor that subscriptions report. Gives whether this is news.
local function prove(s)
    if s <= beyond then return false end
    for _, leap in ipairs(redis.call('LRANGE', E .. 'leaps', 0, -1)) do
        local from, to = string.match(leap, '(%d+) (%d+)')
        if s > tonumber(from) and s < tonumber(to) then
            beyond, log_dirty = s, true
            redis.call('PUBLISH', F .. 'all', 'beyond ' .. epoch .. ' ' .. str(s))
            return true
        end
    end
    return false
end
