-- The members of channels, by the rules of `core/presence_state.py`, on the clock of Redis. A key CH LF ID names a member.
-- PREFIX presence            hash: members (how many there are), and bounds, MessagePack: of the events messages, bytes, age
--                            of all messages, bytes and channels of all events, time to live; the grace; hooks with events
--                            of members, each with its name and bounds; and the retention of their dead letters
-- PREFIX presence:in:CH      hash: by id, MessagePack of since, meta, when the lease ends, when it was renewed, lag, when the
--                            grace ends, the reason of the lost connection, and connections by owner; see leases.lua
-- PREFIX presence:ids:CH     sorted set: the ids, for pages
-- PREFIX presence:channels   set: the channels with members
-- PREFIX presence:of:OWNER   set: the members with connections of an owner
-- PREFIX presence:due        sorted set: members by when they leave, and channels by when their second ends
-- PREFIX presence:second:CH  hash: n, the changes in this second; w, whether they are collected
-- PREFIX presence:wait:CH    hash: by id, the collected changes: whether it was there, since, meta, reason
-- PREFIX presence:left, presence:seen    when members have left, and the last sign of life of each with its lag
local STATE, DUE, LEFT, SEEN = P .. 'presence', P .. 'presence:due', P .. 'presence:left', P .. 'presence:seen'
local IN, IDS, CHANNELS_IN, OF = P .. 'presence:in:', P .. 'presence:ids:', P .. 'presence:channels', P .. 'presence:of:'
local SECOND, WAIT = P .. 'presence:second:', P .. 'presence:wait:'
local MOST_EVENTS, MOST_IN_DIFF, MOST_SENT, SEEN_MS, MOST_SEEN = 20, 200, 2000, 86400000, 100000
local SINCE, META, LEASE_END, LAST, LAG, GRACE_END, REASON, HOLDERS = 1, 2, 3, 4, 5, 6, 7, 8
local TTL, GRACE = 0, 15000
-- The hooks with events of members: the name of each, and the most events and bytes of its backlog.
local HOOKED, is_hooked = {}, false

-- Sets the bounds; of a script that is called without, those of the last one that had some.
local function set_bounds(packed)
    if packed then
        redis.call('HSET', STATE, 'bounds', packed)
    else
        packed = redis.call('HGET', STATE, 'bounds')
    end
    local b = packed and cmsgpack.unpack(packed) or { 1000, 4194304, 86400000, 67108864, 100000, 3600000, 15000 }
    MESSAGES, BYTES, AGE, TOTAL, CHANNELS, TTL, GRACE = b[1], b[2], b[3], b[4], b[5], b[6], b[7]
    HOOKED = b[8] or {}
    set_retentions(b[9] or '')
end

local function load(ch, id)
    local raw = redis.call('HGET', IN .. ch, id)
    return raw and cmsgpack.unpack(raw) or nil
end

local function store(ch, id, m) redis.call('HSET', IN .. ch, id, cmsgpack.pack(m)) end

-- A node has several owners for a while after it got a new incarnation, with the same connections.
local function connections(m)
    local nodes, n = {}, 0
    for owner, count in pairs(m[HOLDERS]) do
        local node = string.match(owner, '^[^:]*')
        nodes[node] = math.max(nodes[node] or 0, count)
    end
    for _, count in pairs(nodes) do n = n + count end
    return n
end

-- Events

local function string_of(s) return cmsgpack.pack(s) end
local function binary_of(s)
    local n = #s
    return string.char(198, math.floor(n / 16777216) % 256, math.floor(n / 65536) % 256, math.floor(n / 256) % 256,
        n % 256) .. s
end

local function send(ch, action, data)
    local name, kind, event = PRESENCE .. ch, 'application/json', 'presence.' .. action
    local body = table.concat({ string.char(150), string_of(name), binary_of(data), string_of(kind), string_of('json'),
        string_of(event), string.char(194) })
    local s, prev = accept(name, body, str(#data) .. ' ' .. str(#data + #name + #kind + #event), TTL, 0, '')
    redis.call('HINCRBY', STATE, 'sent:' .. action, 1)
    if s <= 0 then return end
    for _, hook in ipairs(HOOKED) do
        publish_event(hook[1], name, s, prev, ',"event":"' .. event .. '","data":' .. data .. '}')
        is_hooked = true
    end
end

-- Enforces the bounds of hooks, and writes back what has changed. To be called before `save`.
local function save_members_hooks()
    if not is_hooked then return end
    for _, hook in ipairs(HOOKED) do trim_hook(hook[1], hook[2], hook[3]) end
    save_hooks()
end

local function item(id, since, count, meta, reason)
    local text = '{"id":' .. cjson.encode(id) .. ',"since":' .. string.format('%.3f', since / 1000) .. ',"connections":'
        .. str(count) .. ',"meta":' .. meta
    return text .. (reason and ',"reason":"' .. reason .. '"}' or '}')
end

local function note(ch, id, action, m, reason)
    local n = redis.call('HINCRBY', SECOND .. ch, 'n', 1)
    redis.call('ZADD', DUE, 'NX', str(ms + 1000), ch)
    if n <= MOST_EVENTS and redis.call('HGET', SECOND .. ch, 'w') ~= '1' then
        send(ch, action, '{"action":"' .. action .. '","id":' .. cjson.encode(id) .. ',"meta":' .. m[META] .. ',"reason":'
            .. (reason and '"' .. reason .. '"' or 'null') .. '}')
        return
    end
    redis.call('HSET', SECOND .. ch, 'w', '1')
    local before = redis.call('HGET', WAIT .. ch, id)
    local was_in = action ~= 'enter'
    if before then was_in = cmsgpack.unpack(before)[1] end
    redis.call('HSET', WAIT .. ch, id, cmsgpack.pack({ was_in, m[SINCE], m[META], reason or '' }))
end

-- Ends the second of a channel: sends what was collected, or a part of it; then the channel stays due.
local function end_second(ch)
    local waiting = redis.call('HRANDFIELD', WAIT .. ch, MOST_SENT, 'WITHVALUES')
    for first = 1, #waiting, 2 * MOST_IN_DIFF do
        local lists = { enter = {}, update = {}, leave = {} }
        for i = first, math.min(first + 2 * MOST_IN_DIFF - 1, #waiting), 2 do
            local id, w = waiting[i], cmsgpack.unpack(waiting[i + 1])
            local m = load(ch, id)
            local list = lists[not m and 'leave' or w[1] and 'update' or 'enter']
            list[#list + 1] = m and item(id, m[SINCE], connections(m), m[META])
                or item(id, w[2], 0, w[3], w[4] ~= '' and w[4] or 'client')
        end
        send(ch, 'diff', '{"action":"diff","enter":[' .. table.concat(lists.enter, ',') .. '],"update":['
            .. table.concat(lists.update, ',') .. '],"leave":[' .. table.concat(lists.leave, ',') .. ']}')
    end
    for i = 1, #waiting, 2 do redis.call('HDEL', WAIT .. ch, waiting[i]) end
    if redis.call('EXISTS', WAIT .. ch) == 1 then return end
    local n = num(redis.call('HGET', SECOND .. ch, 'n'))
    redis.call('DEL', SECOND .. ch)
    redis.call('ZREM', DUE, ch)
    if n > MOST_EVENTS then
        redis.call('HSET', SECOND .. ch, 'n', 0, 'w', '1')
        redis.call('ZADD', DUE, str(ms + 1000), ch)
    end
end

-- Members

local function enter(ch, id, meta)
    local m = { ms, meta ~= '' and meta or 'null', 0, 0, '', 0, 'timeout', {} }
    redis.call('ZADD', IDS .. ch, 0, id)
    redis.call('SADD', CHANNELS_IN, ch)
    redis.call('HINCRBY', STATE, 'members', 1)
    redis.call('ZREM', LEFT, ch .. '\n' .. id)
    redis.call('HDEL', SEEN, ch .. '\n' .. id)
    store(ch, id, m)
    note(ch, id, 'enter', m)
    return m
end

local function describe(ch, id, m, meta)
    if meta == '' or meta == m[META] then return end
    m[META] = meta
    store(ch, id, m)
    note(ch, id, 'update', m)
end

local function remove(ch, id, m, reason, last)
    local key = ch .. '\n' .. id
    redis.call('HDEL', IN .. ch, id)
    redis.call('ZREM', IDS .. ch, id)
    redis.call('ZREM', DUE, key)
    if redis.call('HLEN', IN .. ch) == 0 then redis.call('SREM', CHANNELS_IN, ch) end
    redis.call('HINCRBY', STATE, 'members', -1)
    redis.call('ZADD', LEFT, str(ms), key)
    redis.call('HSET', SEEN, key, str(last or ms) .. ' ' .. m[LAG])
    note(ch, id, 'leave', m, reason)
end

-- Lets a member without connections go, or stay until its lease or its grace ends.
local function settle(ch, id, m, reason, last)
    local ends = math.max(m[LEASE_END], m[GRACE_END])
    if ends <= ms then return remove(ch, id, m, reason, last) end
    store(ch, id, m)
    redis.call('ZADD', DUE, str(ends), ch .. '\n' .. id)
end

-- Sets how many connections of an owner a member has; with none left, why the last one has ended and whether for good.
-- What describes a member that is there is changed to `meta`, if that is not empty; that of a new one is `known`.
local function hold(owner, ch, id, meta, count, reason, is_final, known)
    local m, key = load(ch, id), ch .. '\n' .. id
    if count > 0 then
        if m then describe(ch, id, m, meta) else m = enter(ch, id, known) end
        m[HOLDERS][owner], m[GRACE_END] = count, 0
        store(ch, id, m)
        redis.call('SADD', OF .. owner, key)
        note_owner('presence', owner)
        return
    end
    redis.call('SREM', OF .. owner, key)
    if not m or not m[HOLDERS][owner] then return end
    m[HOLDERS][owner] = nil
    if next(m[HOLDERS]) then return store(ch, id, m) end
    if not is_final and GRACE > 0 then m[GRACE_END], m[REASON] = ms + GRACE, reason end
    settle(ch, id, m, reason)
end

local function come_due(key)
    local ch, id = string.match(key, '^(.-)\n(.*)$')
    if not ch then return end_second(key) end
    local m = load(ch, id)
    redis.call('ZREM', DUE, key)
    if not m or next(m[HOLDERS]) then return end
    local had_grace = m[GRACE_END] > 0
    settle(ch, id, m, had_grace and m[REASON] or 'timeout', not had_grace and m[LAST] > 0 and m[LAST] or nil)
end

local function forget_seen()
    local old = redis.call('ZRANGEBYSCORE', LEFT, '-inf', str(ms - SEEN_MS), 'LIMIT', 0, 200)
    local over = redis.call('ZCARD', LEFT) - MOST_SEEN
    if #old == 0 and over > 0 then old = redis.call('ZRANGE', LEFT, 0, math.min(over, 200) - 1) end
    if #old > 0 then
        redis.call('ZREM', LEFT, unpack(old))
        redis.call('HDEL', SEEN, unpack(old))
    end
end
