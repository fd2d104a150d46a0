-- Drops what a node without a lease has reported; see usage.lua. ARGV: 5 the owner.
if is_held(ARGV[5]) then return 0 end
redis.call('UNLINK', P .. 'usage:' .. ARGV[5])
forget_owner('usage', ARGV[5])
return 0
