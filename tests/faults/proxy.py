#!/usr/bin/python3
"""A TCP proxy that fails on demand, for connections between the daemons and their services.

    proxy.py SEED NAME=LISTEN:TARGET…

A command a line on standard input, the answer "ok" on standard output; LINK is a NAME, or a prefix of names that ends in "*":

    delay LINK MS       every piece comes MS later
    stall LINK          nothing comes through, in either direction; connections stay
    swallow LINK        the same, but what the client sends is thrown away: its peer has gone without a word
    refuse LINK         new connections are closed at once
    cut LINK PERCENT    so many of the connections are closed
    reset LINK PERCENT  so many are reset
    orphan LINK PERCENT of so many the client's side is closed, the server's stays until `heal`
    heal LINK           everything works again; connections that were swallowed or orphaned are closed
"""

import asyncio
import random
import socket
import struct
import sys

PIECE = 65536


class Connection:
    """One client and its server."""

    def __init__(self, link, client, server):
        self.link, self.client, self.server = link, client, server
        self.spoilt = False

    async def pump(self, reader, writer, upward):
        link = self.link
        try:
            while piece := await reader.read(PIECE):
                if link.delay_ms:
                    await asyncio.sleep(link.delay_ms / 1000)
                if link.swallowing:
                    self.spoilt = True
                await link.open.wait()
                if self.spoilt and upward:
                    continue
                writer.write(piece)
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            if not self.spoilt:
                await link.open.wait()
                self.close()

    async def run(self):
        client, server = self.client, self.server
        await asyncio.gather(self.pump(client[0], server[1], True), self.pump(server[0], client[1], False))

    def close(self, hard=False):
        for _, writer in (self.client, self.server):
            if hard and not writer.is_closing():
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            writer.close()
        self.link.connections.discard(self)

    def orphan(self):
        self.spoilt = True
        self.client[1].close()


class Link:
    def __init__(self, name, listen, target):
        self.name, self.listen, self.target = name, listen, target
        self.connections = set()
        self.delay_ms, self.refusing, self.swallowing = 0, False, False
        self.open = asyncio.Event()
        self.open.set()

    async def serve(self):
        return await asyncio.start_server(self.accept, "127.0.0.1", self.listen, reuse_address=True, backlog=200)

    async def accept(self, reader, writer):
        if self.refusing:
            writer.transport.abort()
            return
        try:
            server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        connection = Connection(self, (reader, writer), server)
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            connection.close()

    def chosen(self, percent, dice):
        return [each for each in list(self.connections) if dice.random() * 100 < percent]

    def heal(self):
        for each in [each for each in self.connections if each.spoilt or self.swallowing]:
            each.close(hard=True)
        self.delay_ms, self.refusing, self.swallowing = 0, False, False
        self.open.set()

    def obey(self, verb, number, dice):
        if verb == "delay":
            self.delay_ms = number
        elif verb in ("stall", "swallow"):
            self.swallowing = verb == "swallow"
            self.open.clear()
        elif verb == "refuse":
            self.refusing = True
        elif verb in ("cut", "reset"):
            for each in self.chosen(number, dice):
                each.close(hard=verb == "reset")
        elif verb == "orphan":
            for each in self.chosen(number, dice):
                each.orphan()
        elif verb == "heal":
            self.heal()
        else:
            raise ValueError(f"no such command: {verb}")


def selected(links, pattern):
    return [link for link in links if link.name == pattern or (pattern.endswith("*") and link.name.startswith(pattern[:-1]))]


async def main(seed, *arguments):
    dice = random.Random(seed)
    links = []
    for argument in arguments:
        name, _, ports = argument.partition("=")
        links.append(Link(name, *map(int, ports.split(":"))))
    servers = [await link.serve() for link in links]
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    print("ok", flush=True)
    while line := (await orders.readline()).decode().split():
        for link in selected(links, line[1]):
            link.obey(line[0], float(line[2]) if len(line) > 2 else 0, dice)
        print("ok", flush=True)
    for server in servers:
        server.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
