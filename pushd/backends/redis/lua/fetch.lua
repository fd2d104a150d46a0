-- Gives messages by place: ARGV 5… sequence and channel in turn. False where it is gone; the epoch first.
local answer = { epoch }
for i = 5, #ARGV, 2 do
    local id = ARGV[i] .. '-0'
    local row = redis.call('XRANGE', E .. 's:' .. ARGV[i + 1], id, id)[1]
    answer[#answer + 1] = row and row[2][6] or false
end
return answer
