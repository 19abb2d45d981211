// A board in simulation: a TCP client's bytes as waveforms on the UART pins of the design, and back.
//
// Writes the number of its port on localhost to standard output, serves one client, and ends when
// the client leaves or when standard input is closed, which happens when the parent dies.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <deque>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

namespace {

// Cycles between two looks at the client.
constexpr int kSlice = 256;

// Cycles without a byte on a line, and with an idle core, after which nothing is going to happen:
// more than the link needs for its longest frame.
constexpr int kQuiet = 20000;

// Bytes of the client that wait here at most; more wait in the socket.
constexpr size_t kWaiting = 4096;

// Sends bytes on a pin: a start bit, eight data bits from the lowest, a stop bit.
class Sender {
 public:
  bool busy() const { return bits_ != 0; }

  // Begins a byte; not while busy.
  void start(uint8_t byte) {
    shift_ = 1 << 9 | byte << 1;
    bits_ = 10;
    left_ = 0;
  }

  // Returns the level of the pin in the next cycle.
  int next(int divisor) {
    if (bits_ == 0) return 1;
    if (left_ == 0) left_ = divisor;
    const int level = shift_ & 1;
    if (--left_ == 0) {
      shift_ >>= 1;
      --bits_;
    }
    return level;
  }

 private:
  unsigned shift_ = 0;
  int bits_ = 0;  // that are still to send
  int left_ = 0;  // cycles of this bit
};

// Takes bytes from a pin, each bit in its middle.
class Receiver {
 public:
  bool busy() const { return bits_ != 0; }

  // Looks at the level of the pin in a cycle; returns whether a byte has come.
  bool next(int level, int divisor) {
    if (bits_ == 0) {
      if (level == 0) {
        bits_ = 9;
        left_ = divisor + divisor / 2;
      }
      return false;
    }
    if (--left_ > 0) return false;
    left_ = divisor;
    if (--bits_ > 0) {
      shift_ = shift_ >> 1 | level << 7;
      return false;
    }
    byte = shift_;
    return level == 1;  // a stop bit that is low says that there was no byte
  }

  uint8_t byte = 0;

 private:
  unsigned shift_ = 0;
  int bits_ = 0;  // that are still to come, the stop bit included
  int left_ = 0;  // cycles to the middle of the next one
};

class Board {
 public:
  Board() {
    top_.rx = 1;
    top_.rst = 1;
    for (int cycle = 0; cycle < 32; ++cycle) clock();
    top_.rst = 0;
  }

  ~Board() { top_.final(); }

  // Whether anything may happen without another byte of the client.
  bool active() const { return quiet_ < kQuiet; }

  void cycle() {
    const int divisor = top_.divisor;
    if (!sender_.busy() && !waiting.empty()) {
      sender_.start(waiting.front());
      waiting.pop_front();
    }
    top_.rx = sender_.next(divisor);
    clock();
    if (receiver_.next(top_.tx, divisor)) given.push_back(receiver_.byte);
    const bool busy = sender_.busy() || receiver_.busy() || !top_.idle;
    quiet_ = busy ? 0 : quiet_ + 1;
  }

  std::deque<uint8_t> waiting;  // bytes for the design
  std::vector<uint8_t> given;   // bytes of the design
  uint64_t cycles = 0;

 private:
  void clock() {
    top_.clk = 1;
    top_.eval();
    top_.clk = 0;
    top_.eval();
    ++cycles;
  }

  Vtop top_;
  Sender sender_;
  Receiver receiver_;
  int quiet_ = 0;
};

// Returns whether the parent is there, without waiting for anything it might say.
bool wanted(const pollfd& parent) { return parent.revents == 0; }

int listen_on_localhost() {
  const int server = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (server < 0 || bind(server, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(server, 1) != 0 ||
      getsockname(server, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    std::perror("board");
    return -1;
  }
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  return server;
}

// Runs the board until the client or the parent is gone.
void serve(Board& board, int client) {
  pollfd files[] = {{client, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
  while (true) {
    if (poll(files, 2, board.active() ? 0 : -1) < 0 || !wanted(files[1])) return;
    if (files[0].revents != 0 && board.waiting.size() < kWaiting) {
      uint8_t bytes[kWaiting];
      const ssize_t size = recv(client, bytes, sizeof bytes, 0);
      if (size <= 0) return;
      board.waiting.insert(board.waiting.end(), bytes, bytes + size);
    }
    for (int cycle = 0; cycle < kSlice; ++cycle) board.cycle();
    for (size_t sent = 0; sent < board.given.size();) {
      const ssize_t size =
          send(client, board.given.data() + sent, board.given.size() - sent, MSG_NOSIGNAL);
      if (size <= 0) return;
      sent += size;
    }
    board.given.clear();
  }
}

}  // namespace

int main(int argc, char** argv) {
  Verilated::commandArgs(argc, argv);
  const int server = listen_on_localhost();
  if (server < 0) return 1;
  pollfd files[] = {{server, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
  if (poll(files, 2, -1) < 0 || !wanted(files[1])) return 0;
  const int client = accept(server, nullptr, nullptr);
  if (client < 0) return 1;
  // One client: a second one would hear the answers of the first.
  close(server);
  const int on = 1;
  setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  Board board;
  serve(board, client);
  std::printf("%llu\n", static_cast<unsigned long long>(board.cycles));
  return 0;
}
