-- Gives the messages of a channel between two sequences, both left out: ARGV 5 channel · 6 from · 7 to · 8 how many.
-- The epoch, the newest loss and its reason first: of a channel that is not known any more, the newest of all such.
guard()
local r = checked(ARGV[5])
save()
local answer = { epoch, str(r and r.lost or unknown), r and r.why or 'unknown' }
local rows = redis.call('XRANGE', E .. 's:' .. ARGV[5], str(num(ARGV[6]) + 1) .. '-0', str(num(ARGV[7]) - 1) .. '-0',
    'COUNT', ARGV[8])
for _, row in ipairs(rows) do answer[#answer + 1] = row[2][6] end
return answer
