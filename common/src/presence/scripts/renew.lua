-- The node lives and holds these users.
--
-- ARGV[3]  the node
-- ARGV[4…] the users
--
-- Answers those that came online by it: nobody while the bucket heals, for then they were online before.
call('ZADD', leases, now + lease, ARGV[3])
local known = call('SMISMEMBER', bucket .. ':n:' .. ARGV[3], unpack(ARGV, 4))
for i = 4, #ARGV do
    if known[i - 3] == 0 and register(ARGV[i], ARGV[3]) and not healing then decide(ARGV[i], 1, now, ARGV[3]) end
end
return answer
