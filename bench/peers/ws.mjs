// A room on Node's `ws`, as its documentation writes a broadcast. `node ws.mjs PORT`
import { WebSocket, WebSocketServer } from "ws";

const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 4096 });

server.on("connection", (socket) => {
  socket.on("error", console.error);
  socket.on("message", (data) => {
    const said = JSON.parse(data);
    if (said.echo !== undefined) {
      socket.send(JSON.stringify({ ref: said.ref, result: said.echo }));
      return;
    }
    const event = JSON.stringify({ body: said.body });
    for (const client of server.clients) {
      if (client.readyState === WebSocket.OPEN) client.send(event);
    }
  });
  socket.send(JSON.stringify({ joined: "lobby" }));
});
