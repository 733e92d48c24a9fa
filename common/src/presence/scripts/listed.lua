-- Answers a bucket's epoch, '' where it has none, and how many users it lists for a node.
--
-- KEYS[1]  the bucket
-- ARGV[1]  the node
return { redis.call('HGET', KEYS[1] .. ':state', 'epoch') or '', redis.call('SCARD', KEYS[1] .. ':n:' .. ARGV[1]) }
