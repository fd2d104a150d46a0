-- The leases of nodes. What a node owns in Redis hangs on its lease, and is dropped once that is over.
-- PREFIX leases         sorted set: owners, which are NODE:INCARNATION, by when their leases are over, on the lease clock
-- PREFIX leases:clock   hash: now, the lease clock in milliseconds, and at, the time of Redis when that was set; run, of
--                       Redis; generation, which changes with the run and with the loss of this hash
-- PREFIX owners:KIND    set: the owners that own anything of a kind
--
-- The lease clock follows the time of Redis, but stands still while no node reaches Redis, and never goes back. So no
-- lease ends because Redis was down or frozen, or because its clock was set.
local LEASES, LEASE_CLOCK = P .. 'leases', P .. 'leases:clock'
local MOST_PASSED = 2000
local lease_clock = redis.call('HMGET', LEASE_CLOCK, 'now', 'at', 'run', 'generation')
local lease_now, generation = ms, lease_clock[4]
if generation then lease_now = num(lease_clock[1]) + math.max(0, math.min(ms - num(lease_clock[2]), MOST_PASSED)) end

-- Gives whether the lease of an owner is not over. A script that registers anything for an owner has to ask first.
local function is_held(owner)
    local over = redis.call('ZSCORE', LEASES, owner)
    return over ~= false and tonumber(over) > lease_now
end

-- Lets the lease clock go on.
local function tick()
    if generation and lease_clock[3] == ARGV[3] then
        redis.call('HSET', LEASE_CLOCK, 'now', str(lease_now), 'at', str(ms))
    end
end

-- As `tick`. After a restart or a failover all leases get a full term, in which the nodes come back.
local function tick_or_begin(term)
    if generation and lease_clock[3] == ARGV[3] then return tick() end
    generation = ARGV[2]
    redis.call('HSET', LEASE_CLOCK, 'now', str(lease_now), 'at', str(ms), 'run', ARGV[3], 'generation', generation)
    for _, owner in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '(' .. str(lease_now), '+inf')) do
        redis.call('ZADD', LEASES, str(lease_now + term), owner)
    end
end

-- Notes that an owner owns something of a kind.
local function note_owner(kind, owner) redis.call('SADD', P .. 'owners:' .. kind, owner) end

-- Notes that an owner owns nothing of a kind any more.
local function forget_owner(kind, owner) redis.call('SREM', P .. 'owners:' .. kind, owner) end
