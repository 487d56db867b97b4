// The conformance worker. The first byte of a message says what to do, and the rest is its body:
//
//   (none)  sends an empty message      g  logs the body at each level
//   =  sends the body back              o  writes the body to standard output and error
//   +  counts these messages            t  traps with the body as the message
//   *  sends as many messages           m  takes so many MiB of memory
//   a  sends the spawn arguments        c  decodes CBOR and encodes it again
//   l  takes as many turns              n  says what type the CBOR is here
//   f  fails with the body              all else fails
#include <charconv>
#include <cstdio>
#include <new>

#include "grid.hpp"
#include "grid_value.hpp"

namespace {

/// The body as a decimal number, or 0.
std::uint64_t decimal(std::string_view body) {
    std::uint64_t number = 0;
    std::from_chars(body.data(), body.data() + body.size(), number);
    return number;
}

void write_line(std::FILE *stream, std::string_view line) {
    std::fwrite(line.data(), 1, line.size(), stream);
    std::fputc('\n', stream);
    std::fflush(stream);
}

[[gnu::noinline]] void deliberate_trap(std::string_view text) {
    grid::panic(text);
}

[[gnu::noinline]] void trap_on_request(std::string_view text) {
    deliberate_trap(text);
}

/// Takes pieces of one MiB, and gives them back when all are there, or there is no more.
void take_memory(std::uint64_t pieces) {
    struct Piece {
        Piece *before;
        std::uint8_t rest[(1 << 20) - sizeof(Piece *)];
    };
    Piece *last = nullptr;
    std::uint64_t taken = 0;
    for (; taken < pieces; taken++) {
        auto piece = new (std::nothrow) Piece;
        if (!piece) break;
        std::memset(piece, 0xa5, sizeof *piece);
        piece->before = last;
        last = piece;
    }
    while (last) delete std::exchange(last, last->before);
    if (taken == pieces) grid::send("allocated");
    else grid::fail("no memory after " + std::to_string(taken) + " MiB");
}

const char *name(grid_kind kind) {
    switch (kind) {
    case GRID_UINT: return "uint64_t";
    case GRID_NEGATIVE: return "int64_t";
    case GRID_BYTES: return "std::vector<uint8_t>";
    case GRID_TEXT: return "std::string";
    case GRID_ARRAY: return "std::vector<grid::Value>";
    case GRID_MAP: return "std::vector<grid::Entry>";
    case GRID_BOOL: return "bool";
    case GRID_NULL: return "std::nullptr_t";
    case GRID_FLOAT: return "double";
    default: return "grid::Value";
    }
}

class Conformance final : public grid::Worker {
  public:
    explicit Conformance(std::string_view given) : arguments(given) {
        if (given == "refuse") grid::fail("refused");
    }

    void handle_msg(std::string_view message) override {
        if (message.empty()) return grid::send({});
        std::string_view body = message.substr(1);
        switch (message.front()) {
        case '=': return grid::send(body);
        case '+': return grid::send(std::to_string(++count));
        case '*':
            for (std::uint64_t i = 0, wanted = decimal(body); i < wanted; i++) grid::send(std::to_string(i));
            return;
        case 'a': return grid::send(arguments);
        case 'l': turns = Turns{decimal(body), 0}; return;
        case 'f': return grid::fail(body);
        case 'g':
            for (auto level : {grid::Level::error, grid::Level::warn, grid::Level::info, grid::Level::debug,
                               grid::Level::trace})
                grid::log(level, body);
            return grid::send("logged");
        case 'o':
            write_line(stdout, body);
            write_line(stderr, body);
            return grid::send("written");
        case 't': return trap_on_request(body);
        case 'm': return take_memory(decimal(body));
        case 'c':
            if (auto value = grid::decode(body)) grid::send_cbor(*value);
            else grid::fail(value.error);
            return;
        case 'n':
            if (auto value = grid::decode(body)) grid::send(name(value->kind()));
            else grid::fail(value.error);
            return;
        default: grid::fail("unknown request");
        }
    }

    grid::Turn loop() override {
        if (!turns) return grid::Turn::idle;
        if (turns->taken < turns->wanted) {
            turns->taken++;
            return grid::Turn::again;
        }
        grid::send("turns:" + std::to_string(turns->taken));
        turns.reset();
        return grid::Turn::idle;
    }

    void stop() override { grid::log(grid::Level::info, "stopped"); }

  private:
    struct Turns {
        std::uint64_t wanted, taken;
    };

    std::string arguments;
    std::uint64_t count = 0;
    std::optional<Turns> turns;
};

} // namespace

GRID_WORKER(Conformance);
