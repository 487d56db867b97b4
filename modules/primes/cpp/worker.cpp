// Counts primes the naive way: tries every smaller divisor until one divides.
//
// A message is the CBOR pair [from, to], or a line of text with a number n, which means [n, n + 1000]; the answer is the
// CBOR map {from, to, count, largest} for the primes p with from <= p < to.
#include <algorithm>
#include <charconv>

#include "grid.hpp"
#include "grid_value.hpp"

namespace {

using Number = std::uint32_t;

struct Range {
    Number from, to;
};

/// Numbers in the range that a line of text stands for.
constexpr Number line = 1000;

/// The number that the text is, alone but for spaces around it.
std::optional<Number> number(std::string_view text) {
    constexpr const char *spaces = " \t\r\n";
    text.remove_prefix(std::min(text.find_first_not_of(spaces), text.size()));
    text = text.substr(0, text.find_last_not_of(spaces) + 1);
    Number number = 0;
    auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || rest != text.data() + text.size()) return std::nullopt;
    return number;
}

/// The range that the value asks for, if it is a pair of numbers.
std::optional<Range> pair(const grid::Value &value) {
    auto array = value.array();
    if (!array || array->size() != 2) return std::nullopt;
    auto from = (*array)[0].to<Number>();
    auto to = (*array)[1].to<Number>();
    if (!from || !to) return std::nullopt;
    return Range{*from, *to};
}

bool is_prime(Number number) {
    for (Number divisor = 2; divisor < number; divisor++)
        if (number % divisor == 0) return false;
    return number >= 2;
}

/// A worker that counts primes, a slice of the range a turn.
class Primes final : public grid::Worker {
  public:
    // No digit and no space begins a pair in CBOR, so the two forms never meet.
    void handle_msg(std::string_view message) override {
        if (auto first = number(message)) return start({*first, *first + std::min(line, ~*first)});
        auto value = grid::decode(message);
        auto range = value ? pair(*value) : std::nullopt;
        if (range) return start(*range);
        const char *why = value ? "it is something else" : value.error;
        grid::fail(std::string("expected the CBOR pair [from, to] or a number as text: ") + why);
    }

    grid::Turn loop() override {
        if (!busy) return grid::Turn::idle;
        for (int left = slice; left > 0 && next < range.to; left--, next++) {
            if (!is_prime(next)) continue;
            count++;
            largest = next;
        }
        if (next < range.to) return grid::Turn::again;
        grid::send_cbor(grid::Map{{"from", range.from}, {"to", range.to}, {"count", count}, {"largest", largest}});
        busy = false;
        return grid::Turn::idle;
    }

  private:
    /// Numbers looked at in one turn.
    static constexpr int slice = 100;

    void start(Range asked) {
        busy = true;
        range = asked;
        next = asked.from;
        count = 0;
        largest.reset();
    }

    bool busy = false;
    Range range{};
    Number next = 0;
    Number count = 0;
    std::optional<Number> largest;
};

} // namespace

GRID_WORKER(Primes);
