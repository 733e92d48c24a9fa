// A chat server as the documentation of Socket.IO and its Redis adapter has it; what is posted to
// /ROOM goes to that room.
const { createServer } = require("node:http");
const { Server } = require("socket.io");
const { createAdapter } = require("@socket.io/redis-adapter");
const { createClient } = require("redis");

async function main() {
  const publisher = createClient({ url: process.env.REDIS_URL });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  const http = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      io.to(request.url.slice(1)).emit("message", JSON.parse(body));
      response.writeHead(202, { "content-length": 0 });
      response.end();
    });
  });
  const io = new Server(http, {
    transports: ["websocket"],
    perMessageDeflate: false,
    adapter: createAdapter(publisher, subscriber),
  });
  io.on("connection", (socket) => {
    socket.on("join", (room, joined) => {
      socket.join(room);
      joined({});
    });
  });
  http.listen(0, "127.0.0.1", () => console.log(`listening ${http.address().port}`));
}

main();
