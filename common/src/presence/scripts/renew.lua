-- The node lives and holds these users.
--
-- ARGV[3]  the node
-- ARGV[4]  how many users of the bucket it holds
-- ARGV[5]  their digest
-- ARGV[6]  how long the digest counts, ms: then all are compared, whatever it says
-- ARGV[7]  how many users it registers at most, where they are named
-- ARGV[8…] the users; none where the digest is to do
--
-- The number is how many users the bucket lists for the node. It is -1 where the users are needed,
-- and -n where the call ended after the first n that were named: many were unknown, and nobody else
-- is served meanwhile. Answers those that came online by it: nobody while the bucket heals, for
-- then they were online before.
local list, digest, count = bucket .. ':n:' .. ARGV[3], bucket .. ':d:' .. ARGV[3], tonumber(ARGV[4])
-- Of another epoch it says nothing: the bucket lost keys since, and the users bring them back.
local value = epoch .. ' ' .. ARGV[5]
call('ZADD', leases, now + lease, ARGV[3])
if #ARGV == 7 then
    local is_same = known_epoch == epoch and call('GET', digest) == value and call('SCARD', list) == count and call('HLEN', held) >= count
    answer[2] = is_same and count or -1
    return answer
end
local known = call('SMISMEMBER', list, unpack(ARGV, 8))
local nodes = call('HMGET', held, unpack(ARGV, 8))
local room = tonumber(ARGV[7])
for i = 8, #ARGV do
    local by = nodes[i - 7]
    local is_known = known[i - 7] == 1 and by and (by == ARGV[3] or is_among(by, ARGV[3]))
    if not is_known then
        if room == 0 then
            answer[2] = 8 - i
            return answer
        end
        room = room - 1
        if register(ARGV[i], ARGV[3]) and not healing then decide(ARGV[i], 1, now, ARGV[3]) end
    end
end
answer[2] = call('SCARD', list)
if answer[2] == count and #ARGV - 7 == count then call('SET', digest, value, 'PX', ARGV[6]) end
return answer
