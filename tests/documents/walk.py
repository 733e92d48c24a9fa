"""The README's walk with a client that openapi-python-client made; the argument is the address."""

import sys

from messenger_api_client import AuthenticatedClient, Client
from messenger_api_client.api.auth import login, logout, me, register
from messenger_api_client.api.chats import create_chat, list_chats
from messenger_api_client.api.messages import message_history, send_message
from messenger_api_client.models import CreateChat, Login, Problem, Register, SendMessage

base = sys.argv[1]
public = Client(base_url=base)
for name in ("ann", "ben"):
    body = Register(username=name, email=f"{name}@example.org", password="correct horse")
    user = register.sync(client=public, body=body)
    assert user.username == name, user

refused = login.sync_detailed(client=public, body=Login(username="ann", password="not it at all"))
assert (refused.status_code, type(refused.parsed)) == (401, Problem), refused
assert refused.parsed.code == "bad_credentials", refused.parsed

tokens = login.sync(client=public, body=Login(username="ann", password="correct horse"))
ann = AuthenticatedClient(base_url=base, token=tokens.access_token)
assert me.sync(client=ann).username == "ann"

chat = create_chat.sync(client=ann, body=CreateChat(name="plans", member_ids=[user.id]))
assert (chat.member_count, chat.role) == (2, "owner"), chat

message = SendMessage(chat_id=chat.id, text="hello", client_message_id="m-1")
first = send_message.sync_detailed(client=ann, body=message)
again = send_message.sync_detailed(client=ann, body=message)
assert (first.status_code, again.status_code) == (201, 200), (first, again)
assert first.parsed.id == again.parsed.id
assert first.parsed.created_at.tzinfo is not None

page = message_history.sync(chat.id, client=ann)
assert [item.text for item in page.items] == ["hello"], page
assert page.next_cursor is None
assert list_chats.sync(client=ann).items[0].last_message.id == first.parsed.id
missing = message_history.sync(chat.id + 1, client=ann)
assert missing.code == "chat_not_found", missing

assert logout.sync_detailed(client=ann).status_code == 204
assert me.sync(client=ann).status == 401
print("walked")
