-- The node does not hold these users, and their departure was reported long ago: a Redis that came
-- back from a snapshot, or a replica that lagged, believes it still.
--
-- ARGV[3]  the node
-- ARGV[4…] the users
compare_anew(ARGV[3])
for i = 4, #ARGV do
    local user = ARGV[i]
    call('SREM', bucket .. ':n:' .. ARGV[3], user)
    local others = without(call('HGET', held, user) or '', ARGV[3])
    if others == '' then
        call('HDEL', held, user)
        call('ZREM', online, user)
        call('HDEL', since, user)
        call('ZREM', grace, user)
        call('HDEL', gone, user)
        call('HDEL', pending, user)
        call('ZREM', claims, user)
    else
        call('HSET', held, user, others)
    end
end
return answer
