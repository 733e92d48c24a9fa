//! The expected answers, one row an action and one column a user and a chat.
//!
//! A number is the status of an answer that grants; words are the codes of refusals, cut to their
//! first letters (see [`WORDS`]). `-` is not asked: it makes no sense there. `appoint` and
//! `remove` name the member, who may leave so. `find` looks through all chats: what is found of
//! this one.

/// The words of the table.
pub const WORDS: &[(&str, &str)] = &[
    ("NM", "not_a_member"),
    ("NO", "not_owner"),
    ("NA", "not_author"),
    ("PC", "private_chat"),
    ("BL", "blocked"),
    ("CF", "chat_not_found"),
    ("MF", "message_not_found"),
    ("EF", "member_not_found"),
    ("IF", "invite_not_found"),
    ("NS", "not_subscribed"),
    ("IN", "its messages"),
    ("OUT", "nothing of it"),
    ("UA", "unauthenticated"),
    ("TI", "token_invalid"),
];

/// The columns: of a public group, of a closed one, of a private chat, of chats that are not
/// there, and of users without access.
pub const COLUMNS: &str = "
    group.owner group.member group.stranger group.removed
    closed.owner closed.member closed.stranger closed.removed
    private.one private.other private.blocked private.stranger
    missing.stranger deleted.owner
    group.anonymous group.deactivated group.ended private.anonymous private.ended
";

/// Over REST.
pub const REST: &str = "
chat         200 200 200 200  200 200 CF CF  200 200 200 CF  CF CF  UA TI TI UA TI
rename       200 NO  NM  NM   200 NO  CF CF  PC  PC  PC  CF  CF CF  UA TI TI UA TI
delete       204 NO  NM  NM   204 NO  CF CF  PC  PC  PC  CF  CF CF  UA TI TI UA TI
join         200 200 200 200  200 200 CF CF  200 200 200 CF  CF CF  UA TI TI UA TI
leave        204 204 NM  NM   204 204 CF CF  PC  PC  PC  CF  CF CF  UA TI TI UA TI
members      200 200 NM  NM   200 200 CF CF  200 200 200 CF  CF CF  UA TI TI UA TI
add          200 NO  NM  NM   200 NO  CF CF  PC  PC  PC  CF  CF CF  UA TI TI UA TI
appoint      200 NO  NM  NM   200 NO  CF CF  PC  PC  PC  CF  CF CF  UA TI TI UA TI
remove       204 204 NM  NM   204 204 CF CF  PC  PC  PC  CF  CF CF  UA TI TI UA TI
read         204 204 NM  NM   204 204 CF CF  204 204 204 CF  CF CF  UA TI TI UA TI
settings     200 200 NM  NM   200 200 CF CF  200 200 200 CF  CF CF  UA TI TI UA TI
history      200 200 NM  NM   200 200 CF CF  200 200 200 CF  CF CF  UA TI TI UA TI
search       200 200 NM  NM   200 200 CF CF  200 200 200 CF  CF CF  UA TI TI UA TI
find         IN  IN  OUT OUT  IN  IN  OUT OUT IN IN  IN  OUT OUT OUT UA TI TI UA TI
send         201 201 NM  NM   201 201 CF CF  201 201 BL  CF  CF CF  UA TI TI UA TI
message      200 200 MF  MF   200 200 MF MF  200 200 200 MF  MF MF  UA TI TI UA TI
edit_mine    200 200 -   NM   200 200 -  MF  200 200 BL  -   -  MF  UA TI TI UA TI
edit_others  NA  NA  MF  MF   NA  NA  MF MF  NA  NA  NA  MF  MF MF  UA TI TI UA TI
drop_mine    204 204 -   NM   204 204 -  MF  204 204 204 -   -  MF  UA TI TI UA TI
drop_others  204 NA  MF  MF   204 NA  MF MF  NA  NA  NA  MF  MF MF  UA TI TI UA TI
react        204 204 MF  MF   204 204 MF MF  204 204 BL  MF  MF MF  UA TI TI UA TI
unreact      204 204 MF  MF   204 204 MF MF  204 204 BL  MF  MF MF  UA TI TI UA TI
pin          204 NO  NM  NM   204 NO  CF CF  204 204 BL  CF  CF CF  UA TI TI UA TI
unpin        204 NO  NM  NM   204 NO  CF CF  204 204 BL  CF  CF CF  UA TI TI UA TI
pins         200 200 NM  NM   200 200 CF CF  200 200 200 CF  CF CF  UA TI TI UA TI
invite       201 NO  NM  NM   201 NO  CF CF  PC  PC  PC  CF  CF CF  UA TI TI UA TI
invites      200 NO  NM  NM   200 NO  CF CF  PC  PC  PC  CF  CF CF  UA TI TI UA TI
revoke       204 NO  NM  NM   204 NO  CF CF  PC  PC  PC  CF  CF CF  UA TI TI UA TI
preview      200 200 200 200  200 200 200 200 -  -   -   -   IF IF  200 200 200 -  -
accept       200 200 200 200  200 200 200 200 -  -   -   -   IF IF  UA TI TI -  -
online       200 200 NM  NM   200 200 CF CF  200 200 200 CF  CF CF  UA TI TI UA TI
profile      200 200 200 200  200 200 200 200 200 200 200 200 200 200 UA TI TI UA TI
me           200 200 200 200  200 200 200 200 200 200 200 200 200 200 UA TI TI UA TI
chats        200 200 200 200  200 200 200 200 200 200 200 200 200 200 UA TI TI UA TI
sessions     200 200 200 200  200 200 200 200 200 200 200 200 200 200 UA TI TI UA TI
user         200 200 200 200  200 200 200 200 200 200 200 200 200 200 UA TI TI UA TI
users        200 200 200 200  200 200 200 200 200 200 200 200 200 200 UA TI TI UA TI
block        204 204 204 204  204 204 204 204 204 204 204 204 204 204 UA TI TI UA TI
unblock      204 204 204 204  204 204 204 204 204 204 204 204 204 204 UA TI TI UA TI
blocked      200 200 200 200  200 200 200 200 200 200 200 200 200 200 UA TI TI UA TI
everybody    200 200 200 200  200 200 200 200 200 200 200 200 200 200 UA TI TI UA TI
";

/// Over the WebSocket: the type of the answer, or the code. A number is the code of the close that
/// a user without access gets.
pub const WEBSOCKET: &str = "
subscribe    ok  ok  NM  NM   ok  ok  CF CF  ok  ok  ok  CF  CF CF  4501 4503 4502 4501 4502
typing       ok  ok  NS  NS   ok  ok  NS NS  ok  ok  ok  NS  NS NS  4501 4503 4502 4501 4502
unsubscribe  ok  ok  NS  NS   ok  ok  NS NS  ok  ok  ok  NS  NS NS  4501 4503 4502 4501 4502
read         ok  ok  NM  NM   ok  ok  CF CF  ok  ok  ok  CF  CF CF  4501 4503 4502 4501 4502
send         ok  ok  NM  NM   ok  ok  CF CF  ok  ok  BL  CF  CF CF  4501 4503 4502 4501 4502
private      ok  ok  ok  ok   ok  ok  ok ok  -   ok  BL  ok  ok ok  4501 4503 4502 4501 4502
";
