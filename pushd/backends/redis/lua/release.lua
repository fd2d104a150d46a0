-- Ends a lease. ARGV: 5 the owner.
return redis.call('ZREM', LEASES, ARGV[5])
