-- Runs one script for several of its calls, each with its own KEYS and ARGV. One that fails costs only its own answer. Stops
-- when much was asked and answered, so that nobody else waits long: the calls that are left over have no answer.
--
-- KEYS   those of all calls, one after the other
-- ARGV   of each call: how many keys, how many arguments, the arguments
local function one(KEYS, ARGV)
-- THE SCRIPT
end

local answers, key, at, work = {}, 0, 1, 0
while at <= #ARGV and work < 3000 do
    local keys, arguments = {}, {}
    for n = 1, tonumber(ARGV[at]) do keys[n] = KEYS[key + n] end
    for n = 1, tonumber(ARGV[at + 1]) do arguments[n] = ARGV[at + 1 + n] end
    key, at = key + #keys, at + 2 + #arguments
    local ran, answer = pcall(one, keys, arguments)
    if not ran then
        local fault = type(answer) == 'table' and answer.err or tostring(answer)
        if not string.find(fault, '^%u+ ') then fault = 'ERR ' .. fault end
        answer = { err = fault }
    end
    work = work + #arguments + (type(answer) == 'table' and #answer or 1)
    -- No answer is one, too.
    if answer == nil then answer = false end
    answers[#answers + 1] = answer
end
return answers
