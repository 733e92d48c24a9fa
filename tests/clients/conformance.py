"""Drives the Python client by commands: one JSON object a line in, answers and events out."""

import asyncio
import json
import sys

from messenger_client import ApiError, FileStore, Messenger, SessionEnded, backoff, close_plan


def say(line):
    print(json.dumps(line), flush=True)


class Conformance:
    def __init__(self):
        self.chat = None
        self.tasks = set()

    def in_background(self, work):
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def listen(self):
        try:
            async for event in self.chat:
                say({"event": event})
            say({"ended": None})
        except SessionEnded as ended:
            say({"ended": ended.code})

    async def run(self, do, **fields):
        if do == "open":
            store = FileStore(fields["store"]) if fields["store"] else None
            state = lambda state, more: say({"state": state, **{name: more.get(name) for name in ("code", "delay")}})
            self.chat = Messenger(
                fields["url"],
                store=store,
                on_state=state,
                heartbeat=fields["heartbeat_seconds"],
                longest_backoff=fields["longest_backoff_seconds"],
            )
        elif do == "login":
            await self.chat.login(fields["username"], fields["password"])
        elif do == "adopt":
            self.chat.adopt(fields["access_token"], fields["refresh_token"], fields["expires_in"])
        elif do == "listen":
            self.in_background(self.listen())
        elif do == "take":
            return await asyncio.gather(*(anext(self.chat, None) for _ in range(fields["count"])))
        elif do == "subscribe":
            await self.chat.subscribe(fields["chat_id"], fields["after_seq"])
        elif do == "subscribe_all":
            await self.chat.subscribe_all()
        elif do == "unsubscribe":
            await self.chat.unsubscribe(fields["chat_id"])
        elif do == "send":
            return await self.chat.send(
                fields["chat_id"], fields["text"], client_message_id=fields["client_message_id"]
            )
        elif do == "request":
            return await self.chat.request(
                fields["method"], fields["path"], fields["body"], idempotency_key=fields.get("key")
            )
        elif do == "search":
            return await self.chat.search(fields["q"], chat_id=fields["chat_id"], limit=1, cursor=fields["cursor"])
        elif do == "plan":
            plan = close_plan(fields["code"], fields["reason"])
            return [plan.action, plan.delay and plan.delay * 1000]
        elif do == "backoff":
            return backoff(fields["attempt"], lambda: fields["random"]) * 1000
        elif do == "logout":
            await self.chat.session.logout()
        elif do == "close":
            await self.chat.close()
        return None

    async def answer(self, id, **command):
        try:
            say({"id": id, "ok": await self.run(**command)})
        except ApiError as error:
            say({"id": id, "error": error.code})
        except ValueError as error:
            say({"id": id, "error": str(error)})
        except SessionEnded as ended:
            say({"id": id, "error": "session_ended", "code": ended.code})


async def main():
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    conformance = Conformance()
    while line := await reader.readline():
        command = json.loads(line)
        if command["do"] in ("logout", "request", "send", "take"):
            conformance.in_background(conformance.answer(**command))
        else:
            await conformance.answer(**command)
        if command["do"] == "close":
            break
    # Nothing of the client may be left, or the process does not end by itself.
    await asyncio.gather(*conformance.tasks)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, left


asyncio.run(main())
