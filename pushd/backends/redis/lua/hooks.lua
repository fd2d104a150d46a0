-- The events of hooks, which are no part of the log: they stay when an epoch ends.
-- PREFIX hooks              set: the hooks with events
-- PREFIX hooks:queue:HOOK   stream: the events by number, each its channel (c), time (t) and JSON (b)
-- PREFIX hooks:state:HOOK   hash: last, the newest number; n and b, the events and their bytes; dead, the dead letters; disabled, 1
--                           if no node may send; resumed, how often that was undone
-- PREFIX hooks:sender:HOOK  string: the node that sends the events, while it exists
-- PREFIX hooks:run          hash: run, of Redis, and since, when senders were acquired in it for the first time
-- PREFIX hooks:added:TOKEN  string: a call that has added events
local HOOKS, QUEUE, STATE_OF = P .. 'hooks', P .. 'hooks:queue:', P .. 'hooks:state:'
local EVENT_OVERHEAD, MOST_DEAD = 200, 32
local hooks = {}

local function hook_of(name)
    local h = hooks[name]
    if h then return h end
    local v = redis.call('HMGET', STATE_OF .. name, 'last', 'n', 'b', 'dead')
    h = { last = num(v[1]), n = num(v[2]), b = num(v[3]), dead = num(v[4]), added = 0 }
    if not v[1] then
        -- New, or evicted by Redis.
        local newest = redis.call('XREVRANGE', QUEUE .. name, '+', '-', 'COUNT', 1)[1]
        if newest then h.last, h.n = seq_of(newest[1]), redis.call('XLEN', QUEUE .. name) end
    end
    hooks[name] = h
    return h
end

local function event_size(ch, body) return #ch + #body + EVENT_OVERHEAD end

-- Numbers follow the time in microseconds, so that none is used again after Redis has lost data.
local function add_event(name, ch, body)
    local h = hook_of(name)
    h.last = math.max(h.last + 1, clock[1] * 1000000 + clock[2])
    redis.call('XADD', QUEUE .. name, str(h.last) .. '-0', 'c', ch, 't', str(ms), 'b', body)
    if h.n == 0 then redis.call('SADD', HOOKS, name) end
    h.n, h.b, h.added = h.n + 1, h.b + event_size(ch, body), h.added + 1
end

-- The event of a publish. `tail`: the JSON of the message after its time; empty for its id only.
local function publish_event(name, ch, s, prev, tail)
    local id, channel, time = epoch .. '-' .. str(s), cjson.encode(ch), string.format('%.3f', ms / 1000)
    local parts = { '{"id":', cjson.encode(id .. '-' .. name), ',"type":"publish","channel":', channel, ',"time":', time,
        ',"message":{"id":"', id, '"' }
    local n = #parts
    if tail ~= '' then
        parts[n + 1] = prev > 0 and ',"prev":"' .. epoch .. '-' .. str(prev) .. '"' or ',"prev":null'
        parts[n + 2], parts[n + 3], parts[n + 4], parts[n + 5], parts[n + 6] = ',"channel":', channel, ',"time":', time, tail
    else
        parts[n + 1] = '}'
    end
    parts[#parts + 1] = '}'
    add_event(name, ch, table.concat(parts))
end

local function remove(name, rows)
    local h, ids = hook_of(name), {}
    for i, row in ipairs(rows) do
        ids[i] = row[1]
        h.n, h.b = h.n - 1, h.b - event_size(row[2][2], row[2][6])
    end
    for first = 1, #ids, 500 do
        redis.call('XDEL', QUEUE .. name, unpack(ids, first, math.min(first + 499, #ids)))
    end
end

local function binary_text(s)
    local n = #s
    return string.char(198, math.floor(n / 16777216) % 256, math.floor(n / 65536) % 256, math.floor(n / 256) % 256,
        n % 256) .. s
end

-- Makes dead letters of the oldest events, given as rows.
local function dead_letters(name, rows, reason)
    if #rows == 0 then return end
    local ch, kind, h = DEAD .. name, 'application/json', hook_of(name)
    for _, row in ipairs(rows) do
        local data = '{"reason":' .. cjson.encode(reason) .. ',"event":' .. row[2][6] .. '}'
        local body = table.concat({ string.char(150), cmsgpack.pack(ch), binary_text(data), cmsgpack.pack(kind),
            cmsgpack.pack('json'), string.char(192), string.char(194) })
        accept(ch, body, str(#data) .. ' ' .. str(#data + #ch + #kind), 0, 0, '')
        h.dead = h.dead + 1
    end
    remove(name, rows)
end

-- The oldest events for which `wanted` holds, at most so many.
local function oldest(name, most, wanted)
    local rows, from = {}, '-'
    while #rows < most do
        local some = redis.call('XRANGE', QUEUE .. name, from, '+', 'COUNT', math.min(16, most - #rows))
        if #some == 0 then return rows end
        for _, row in ipairs(some) do
            if not wanted(row) then return rows end
            rows[#rows + 1] = row
            from = '(' .. row[1]
        end
    end
    return rows
end

-- Enforces the bounds of a hook, a few events at a time.
local function trim_hook(name, events, bytes)
    local h = hook_of(name)
    local n, b = h.n, h.b
    if n <= events and b <= bytes then return end
    dead_letters(name, oldest(name, MOST_DEAD + 2 * h.added, function(row)
        if n <= events and b <= bytes then return false end
        n, b = n - 1, b - event_size(row[2][2], row[2][6])
        return true
    end), 'backlog')
end

-- Writes back what has changed. To be called before `save`.
local function save_hooks()
    for name, h in pairs(hooks) do
        if h.n <= 0 or redis.call('EXISTS', QUEUE .. name) == 0 then
            h.n, h.b = 0, 0
            redis.call('SREM', HOOKS, name)
        end
        redis.call('HSET', STATE_OF .. name, 'last', str(h.last), 'n', str(h.n), 'b', str(h.b), 'dead', str(h.dead))
    end
end
