-- Keeps a small record of a client of a dialect, which one node owns.
-- ARGV: 5 its key · 6 take, read, save or delete · 7 the node · 8 how long it is kept, in milliseconds · 9 its data
-- PREFIX EPOCH :r:KEY   hash: node (its owner) and data
-- take makes the node its owner, and gives the owner before and the data; read gives both. save gives 1, or 0 if another
-- node is its owner; a record that does not exist is made.
local KEY, action, node = E .. 'r:' .. ARGV[5], ARGV[6], ARGV[7]
local found = redis.call('HMGET', KEY, 'node', 'data')
if action == 'take' or action == 'read' then
    if not found[2] then return {} end
    if action == 'take' then
        redis.call('HSET', KEY, 'node', node)
        redis.call('PEXPIRE', KEY, ARGV[8])
    end
    return {found[1], found[2]}
end
if action == 'delete' then return redis.call('DEL', KEY) end
if found[1] and found[1] ~= node then return 0 end
redis.call('HSET', KEY, 'node', node, 'data', ARGV[9])
redis.call('PEXPIRE', KEY, ARGV[8])
return 1
