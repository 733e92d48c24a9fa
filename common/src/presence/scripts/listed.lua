-- Answers how many users a bucket lists for a node.
--
-- KEYS[1]  the bucket
-- ARGV[1]  the node
return redis.call('SCARD', KEYS[1] .. ':n:' .. ARGV[1])
