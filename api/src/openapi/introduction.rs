//! What a reader of the document needs before the first call.

/// In Markdown, after the description that the host gives.
pub(super) const TEXT: &str = "\
## Begin

Register (`POST /auth/register`), log in (`POST /auth/login`), and send the access token with every call: `Authorization: Bearer \
<access token>`. Here, press *Authorize* and give your username and your password. After `expires_in` seconds get new tokens with \
`POST /auth/refresh`; a refresh token works once.

New messages and all other events come over the WebSocket: [its reference](asyncapi) has every command, every frame and every \
close code.

## Lists

A list answers `items` and `next_cursor`. Send that as `cursor` for the next page; it is null on the last one. `limit` is 1 to 100.

## Errors

An error is a problem of RFC 9457. Programs read its `code`, a stable word; people read its `detail`. With `invalid` each fault \
stands in `errors`. Every answer has an `X-Request-Id`: name it when you ask for help.

## Limits

A call over a limit is answered with 429 `rate_limited`; wait for `Retry-After` seconds.

## Lost answers

Send a message with a `client_message_id` of your own. If you get no answer, send the same again: you get the first message, and \
nothing is sent twice. `POST` calls that make something else take an `Idempotency-Key` for the same purpose.

Times are RFC 3339 in UTC with six digits of a second's fraction. Ids are integers.";
