-- Runs a script's body, a function, for one of several calls. A fault costs that call alone: it is
-- its answer.
local function attempt(body, keys, arguments)
    local ran, answer = pcall(body, keys, arguments)
    if ran then
        -- A list ends at its first nil.
        if answer == nil then answer = false end
        return answer
    end
    local fault = type(answer) == 'table' and answer.err or tostring(answer)
    if not string.find(fault, '^%u+ ') then fault = 'ERR ' .. fault end
    return { err = fault }
end
