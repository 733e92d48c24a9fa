-- Several calls of one script, each with its own KEYS and ARGV, as one command. Answers for each,
-- in their order.
--
-- KEYS  those of all calls, one after the other
-- ARGV  of each call: how many keys, how many arguments, the arguments
local answers, key, at = {}, 0, 1
while at <= #ARGV do
    local keys, arguments = {}, {}
    for n = 1, tonumber(ARGV[at]) do keys[n] = KEYS[key + n] end
    for n = 1, tonumber(ARGV[at + 1]) do arguments[n] = ARGV[at + 1 + n] end
    key, at = key + #keys, at + 2 + #arguments
    answers[#answers + 1] = attempt(body, keys, arguments)
end
return answers
