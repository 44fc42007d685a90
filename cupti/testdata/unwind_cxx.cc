// C++ frames: std::function, virtual calls, exceptions in flight. Compiled by unwind_test.
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

typedef int (*callback)(void *);

namespace {

struct Node {
  virtual ~Node() {}
  virtual int visit(const std::function<int(int)> &f) = 0;
};

struct Leaf : Node {
  int visit(const std::function<int(int)> &f) override { return f(1); }
};

struct Branch : Node {
  std::unique_ptr<Node> child;
  explicit Branch(Node *node) : child(node) {}
  int visit(const std::function<int(int)> &f) override {
    std::string text(100, 'x');
    std::vector<double> numbers(50, 1.0);
    int rc = child->visit([&](int n) { return f(n + static_cast<int>(text.size() + numbers.size() - 150)); });
    return text.size() == 100 ? rc : 0;
  }
};

// Calls back while an exception passes by.
struct Guard {
  callback f;
  void *arg;
  int *rc;
  ~Guard() { *rc &= f(arg); }
};

void thrower(callback f, void *arg, int *rc, int depth) {
  Guard guard{f, arg, rc};
  if (depth == 0) throw std::runtime_error("on purpose");
  thrower(f, arg, rc, depth - 1);
}

}  // namespace

extern "C" int cxx_call(callback f, void *arg) {
  Node *node = new Leaf;
  for (int i = 0; i < 5; i++) node = new Branch(node);
  std::unique_ptr<Node> root(node);
  return root->visit([&](int) { return f(arg); });
}

extern "C" int cxx_throw(callback f, void *arg) {
  int rc = 1;
  try {
    thrower(f, arg, &rc, 4);
  } catch (const std::exception &e) {
    rc &= f(arg);  // in the handler
  }
  rc &= f(arg);  // and after it
  return rc;
}
