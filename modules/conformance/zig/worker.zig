//! The conformance worker: the first byte of a message says what to do, the rest is its body.

const std = @import("std");
const grid = @import("grid");
const Allocator = std.mem.Allocator;

pub const std_options = grid.std_options;
pub const panic = grid.panic;

const Conformance = struct {
    arguments: []const u8,
    added: u32 = 0,
    turns: ?u32 = null,
    turned: u32 = 0,

    pub fn init(arguments: []const u8) !Conformance {
        if (std.mem.eql(u8, arguments, "refuse")) return error.refused;
        return .{ .arguments = arguments };
    }

    pub fn handle(self: *Conformance, arena: Allocator, message: []const u8) !void {
        if (message.len == 0) return grid.send("");
        const body = message[1..];
        switch (message[0]) {
            '=' => grid.send(body),
            '+' => {
                self.added += 1;
                try sendFormatted(arena, "{d}", .{self.added});
            },
            '*' => for (0..try decimal(body)) |number| try sendFormatted(arena, "{d}", .{number}),
            'a' => grid.send(self.arguments),
            'l' => {
                self.turns = try decimal(body);
                self.turned = 0;
            },
            'f' => grid.fail(body),
            'g' => logAtEveryLevel(body),
            'o' => {
                const text = try std.fmt.allocPrint(arena, "{s}\n", .{body});
                grid.print(.output, text);
                grid.print(.failure, text);
                grid.send("written");
            },
            't' => trap(body),
            'm' => allocate(try decimal(body)) catch return grid.fail("out of memory"),
            'c' => try grid.sendCbor(try grid.cbor.decode(grid.cbor.Value, arena, body)),
            'n' => {
                const value = try grid.cbor.decode(grid.cbor.Value, arena, body);
                grid.send(@tagName(value));
            },
            else => grid.fail("unknown request"),
        }
    }

    pub fn loop(self: *Conformance) !grid.Turn {
        const turns = self.turns orelse return .idle;
        if (self.turned < turns) {
            self.turned += 1;
            return .again;
        }
        self.turns = null;
        var text: [32]u8 = undefined;
        grid.send(try std.fmt.bufPrint(&text, "turns:{d}", .{self.turned}));
        return .idle;
    }

    pub fn stop(_: *Conformance) void {
        std.log.info("stopped", .{});
    }
};

fn decimal(body: []const u8) !u32 {
    return std.fmt.parseInt(u32, body, 10);
}

fn sendFormatted(arena: Allocator, comptime format: []const u8, arguments: anytype) !void {
    grid.send(try std.fmt.allocPrint(arena, format, arguments));
}

fn logAtEveryLevel(body: []const u8) void {
    std.log.err("{s}", .{body});
    std.log.warn("{s}", .{body});
    std.log.info("{s}", .{body});
    std.log.debug("{s}", .{body});
    grid.log(.trace, body);
    grid.send("logged");
}

noinline fn trap(reason: []const u8) void {
    deliberateTrap(reason);
}

noinline fn deliberateTrap(reason: []const u8) void {
    @panic(reason);
}

/// Takes pieces of memory and keeps them.
fn allocate(count: u32) !void {
    for (0..count) |_| {
        const piece = try grid.allocator.alloc(u8, 1 << 20);
        @memset(piece, 1);
    }
    grid.send("allocated");
}

comptime {
    grid.exportWorker(Conformance);
}
