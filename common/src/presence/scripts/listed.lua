-- Answers a bucket's epoch, '' where it has none, and how many users it lists for a node.
--
-- KEYS[1]  the bucket's `state`
-- ARGV[1]  the node
local bucket = string.match(KEYS[1], '^(.*):state$')
return { redis.call('HGET', KEYS[1], 'epoch') or '', redis.call('SCARD', bucket .. ':n:' .. ARGV[1]) }
