import { expect, test } from "vitest";

import { Heartbeat } from "../src/heartbeat.js";
import { ManualClock } from "./clock.js";

function beating(seconds = 25) {
  const clock = new ManualClock();
  const log: string[] = [];
  const start = clock.now();
  const heartbeat = new Heartbeat(clock, seconds, {
    ping: () => log.push(`ping ${(clock.now() - start) / 1_000}`),
    dead: () => {
      log.push(`dead ${(clock.now() - start) / 1_000}`);
      heartbeat.stop();
    },
  });
  return { clock, heartbeat, log };
}

test("there is one ping per heartbeat while the other side answers", async () => {
  const { clock, heartbeat, log } = beating();
  for (let beat = 0; beat < 3; beat++) {
    await clock.advance(25_000);
    heartbeat.heard();
  }
  expect(log).toEqual(["ping 25", "ping 50", "ping 75"]);
});

test("ten seconds of silence after a ping mean dead", async () => {
  const { clock, log } = beating();
  await clock.advance(60_000);
  expect(log).toEqual(["ping 25", "dead 35"]);
});

test("anything that arrives shows life, not only a pong", async () => {
  const { clock, heartbeat, log } = beating();
  await clock.advance(34_000);
  heartbeat.heard();
  await clock.advance(10_000);
  expect(log).toEqual(["ping 25"]);
});

test("a heartbeat shorter than the patience does not push the deadline away", async () => {
  const { clock, log } = beating(4);
  await clock.advance(30_000);
  expect(log).toEqual(["ping 4", "ping 8", "ping 12", "dead 14"]);
});

test("timers held back to once a minute do not kill a connection that answers", async () => {
  const { clock, heartbeat, log } = beating();
  for (let minute = 0; minute < 10; minute++) {
    await clock.sleep(60_000);
    heartbeat.heard(); // messages are not held back
  }
  expect(log.filter((entry) => entry.startsWith("dead"))).toEqual([]);
  expect(log.length).toBeGreaterThanOrEqual(10);
});

test("a deadline that passed in sleep is followed by one more ping before it counts", async () => {
  const { clock, heartbeat, log } = beating();
  await clock.advance(26_000);
  await clock.sleep(3_600_000);
  expect(log).not.toContain("dead 3626");
  heartbeat.heard();
  await clock.advance(10_000);
  expect(log.filter((entry) => entry.startsWith("dead"))).toEqual([]);
});

test("a connection that died in sleep is found dead ten seconds after waking", async () => {
  const { clock, log } = beating();
  await clock.advance(26_000);
  await clock.sleep(3_600_000);
  await clock.advance(10_000);
  expect(log.at(-1)).toBe("dead 3636");
});

test("a dead connection in a background tab is found although every timer is late", async () => {
  const { clock, log } = beating();
  for (let minute = 0; minute < 4; minute++) await clock.sleep(60_000);
  expect(log.at(-1)).toMatch(/^dead/);
});

test("a message that arrives while the timers are held back brings the ping that is due", () => {
  const { clock, heartbeat, log } = beating();
  heartbeat.heard();
  expect(log).toEqual([]);
  clock.hold(30_000);
  heartbeat.heard();
  expect(log).toEqual(["ping 30"]);
});

test("a ping of the server is answered at once, by the ping that would have been next", async () => {
  const { clock, heartbeat, log } = beating();
  await clock.advance(10_000);
  heartbeat.heard(true);
  expect(log).toEqual(["ping 10"]);
  heartbeat.heard();
  await clock.advance(24_999);
  expect(log).toEqual(["ping 10"]);
  await clock.advance(1);
  expect(log).toEqual(["ping 10", "ping 35"]);
});

test("a client whose timers never run answers each ping of the server once", () => {
  const { clock, heartbeat, log } = beating(10);
  for (let n = 0; n < 4; n++) {
    clock.hold(15_000);
    heartbeat.heard(true);
    heartbeat.heard(); // the pong
  }
  expect(log).toEqual(["ping 15", "ping 30", "ping 45", "ping 60"]);
});

test("a clock that was set back does not keep the ping of the server from being answered", () => {
  const { clock, heartbeat, log } = beating(10);
  clock.hold(-3_600_000);
  heartbeat.heard(true);
  expect(log).toEqual(["ping -3600"]);
});

test("a probe asks at once and judges in five seconds", async () => {
  const { clock, heartbeat, log } = beating();
  await clock.advance(3_000);
  heartbeat.probe();
  await clock.advance(10_000);
  expect(log).toEqual(["ping 3", "dead 8"]);
});

test("a stopped heartbeat leaves no timer behind", async () => {
  const { clock, heartbeat } = beating();
  await clock.advance(26_000);
  heartbeat.stop();
  expect(clock.waiting).toBe(0);
});

test("a probe shortens the patience of a ping before it, and never extends it", async () => {
  const early = beating();
  await early.clock.advance(26_000);
  early.heartbeat.probe();
  await early.clock.advance(10_000);
  expect(early.log).toEqual(["ping 25", "ping 26", "dead 31"]);
  const late = beating();
  await late.clock.advance(33_000);
  late.heartbeat.probe();
  await late.clock.advance(10_000);
  expect(late.log).toEqual(["ping 25", "ping 33", "dead 35"]);
});

test("a probe that asks for silence first passes over a connection that was just heard", async () => {
  const { clock, heartbeat, log } = beating();
  await clock.advance(6_000);
  heartbeat.heard();
  await clock.advance(4_000);
  heartbeat.probe(5_000);
  expect(log).toEqual([]);
  await clock.advance(1_000);
  heartbeat.probe(5_000);
  expect(log).toEqual(["ping 11"]);
});
