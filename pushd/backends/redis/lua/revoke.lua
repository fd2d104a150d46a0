-- Keeps revocations, each merged with the one of its key, and publishes the keys of those that changed.
-- ARGV: from 5 on, for each its key and its value.
-- PREFIX revocations    hash: revocations by KIND:NAME, each as `BEFORE UNTIL CREATED REASON`, in unix seconds; and stamp,
--                       which is another one after each change. It does not belong to the epoch, and expires as a whole.
-- Gives the stamp before, the stamp now, and whether anything changed.
local R, now = P .. 'revocations', math.floor(ms / 1000)

local function parse(value)
    local before, until_, created, reason = string.match(value, '^(%d+) (%d+) (%d+) (.*)$')
    return tonumber(before), tonumber(until_), tonumber(created), reason
end

local stamp = redis.call('HGET', R, 'stamp') or ''
local latest, changed = 0, {}
for i = 5, #ARGV, 2 do
    local key, before, until_, created, reason = ARGV[i], parse(ARGV[i + 1])
    local known = redis.call('HGET', R, key)
    if known then
        local b, u, c, r = parse(known)
        if b then
            if c > created or (c == created and r > reason) then created, reason = c, r end
            before, until_ = math.max(before, b), math.max(until_, u)
        end
    end
    local value = str(before) .. ' ' .. str(until_) .. ' ' .. str(created) .. ' ' .. reason
    if value ~= known and until_ > now then
        redis.call('HSET', R, key, value)
        changed[#changed + 1] = key
        latest = math.max(latest, until_)
    end
end
if #changed == 0 then return { stamp, stamp, 0 } end
local before = stamp
stamp = ARGV[2]
redis.call('HSET', R, 'stamp', stamp)
local ttl = redis.call('PTTL', R)
if ttl < latest * 1000 - ms then redis.call('PEXPIREAT', R, str(latest * 1000)) end
redis.call('PUBLISH', F .. 'all', 'revoked ' .. before .. ' ' .. stamp .. '\n' .. cjson.encode(changed))
return { before, stamp, 1 }
