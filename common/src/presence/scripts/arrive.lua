-- The node holds its first connection of these users.
--
-- ARGV[3]  the node
-- ARGV[4…] the users
--
-- Answers those that came online, again too where this node repeats the call.
call('ZADD', leases, now + lease, ARGV[3])
compare_anew(ARGV[3])
for i = 4, #ARGV do
    if register(ARGV[i], ARGV[3]) then
        decide(ARGV[i], 1, now, ARGV[3])
    else
        add_pending(ARGV[i], ARGV[3])
    end
end
return answer
