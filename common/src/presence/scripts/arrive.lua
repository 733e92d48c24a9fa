-- The node holds its first connection of these users.
--
-- ARGV[3]  the node
-- ARGV[4…] the users
--
-- Answers the users that came online.
local answer = { epoch, decided }
call('ZADD', leases, now + lease, ARGV[3])
for i = 4, #ARGV do
    if register(ARGV[i], ARGV[3]) then answer[#answer + 1] = ARGV[i] end
end
return answer
