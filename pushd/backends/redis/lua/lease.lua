-- Renews the lease of a node. If it is over, or Redis may have lost what the node owns, the node gets a new incarnation.
-- ARGV: 5 node · 6 its owner, empty if it has none · 7 the generation in which it became that · 8 the term in
-- milliseconds · 9… kinds.
-- Gives owner, generation, and what is to be dropped: kinds and owners in turn.
local owner, term = ARGV[6], num(ARGV[8])
tick_or_begin(term)
if ARGV[7] ~= generation or not is_held(owner) then owner = ARGV[5] .. ':' .. ARGV[2] end
redis.call('ZADD', LEASES, str(lease_now + term), owner)
redis.call('ZREMRANGEBYSCORE', LEASES, '-inf', str(lease_now))
local over = {}
for i = 9, #ARGV do
    for _, each in ipairs(redis.call('SMEMBERS', P .. 'owners:' .. ARGV[i])) do
        if not is_held(each) then
            over[#over + 1] = ARGV[i]
            over[#over + 1] = each
        end
    end
end
return cmsgpack.pack({ owner, generation, over })
