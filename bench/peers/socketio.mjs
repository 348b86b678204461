// A room on Socket.IO. `node socketio.mjs PORT`
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const server = new Server(http, { serveClient: false, transports: ["websocket"] });

server.on("connection", (socket) => {
  socket.join("lobby");
  socket.on("say", (body) => server.to("lobby").emit("said", { body }));
  socket.on("echo", (body, reply) => reply(body));
});
http.listen({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 4096 });
