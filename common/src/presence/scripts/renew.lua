-- The node lives and holds these users.
--
-- ARGV[3]  the node
-- ARGV[4…] the users
--
-- Answers those that came online by it: nobody while the bucket heals, for then they were online before.
call('ZADD', leases, now + lease, ARGV[3])
local known = call('SMISMEMBER', bucket .. ':n:' .. ARGV[3], unpack(ARGV, 4))
local nodes = call('HMGET', held, unpack(ARGV, 4))
for i = 4, #ARGV do
    local is_known = known[i - 3] == 1 and nodes[i - 3] and is_among(nodes[i - 3], ARGV[3])
    if not is_known and register(ARGV[i], ARGV[3]) and not healing then decide(ARGV[i], 1, now, ARGV[3]) end
end
return answer
