-- What is known: ARGV 5 age · 6 `info` and 7 a channel · or `names` and 7, 8 from and to, 9 limit · or `usage`
-- · or `state` and 7 a channel, empty for none.
guard()
expire(num(ARGV[5]), 100)
save()
if ARGV[6] == 'state' then
    local r = record(ARGV[7])
    save()
    return cmsgpack.pack({ epoch, seq, beyond, forgets, r and r.gone == 0 or false })
end
if ARGV[6] == 'usage' then return cmsgpack.pack({ kept, cost, channels() }) end
if ARGV[6] == 'names' then
    return redis.call('ZRANGEBYLEX', E .. 'names', ARGV[7], ARGV[8], 'LIMIT', 0, ARGV[9])
end
local r = checked(ARGV[7])
save()
if not r or r.gone > 0 then return cmsgpack.pack({ epoch }) end
local first = r.n > 0 and redis.call('XRANGE', E .. 's:' .. ARGV[7], '-', '+', 'COUNT', 1)[1]
return cmsgpack.pack({ epoch, r.n, r.b, first and seq_of(first[1]) or 0, r.last, r.at, r.ended })
