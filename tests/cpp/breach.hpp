// A breach of one rule of the verifier, planted in the golden program.
#pragma once

#include <limits>
#include <ostream>

#include "golden.hpp"

namespace openbpu::testing {

struct Breach {
  const char* name;
  void (*plant)(Editor&);
  const char* where;  // part of the place that the status names
  const char* rule;   // part of its message
};

inline std::ostream& operator<<(std::ostream& stream, const Breach& breach) { return stream << breach.name; }

inline void expect_refused(const Breach& breach, container::Parts parts = golden_parts()) {
  Editor editor{parts};
  breach.plant(editor);
  const Status status = container::Program::read(container::write(parts)).status();
  ASSERT_FALSE(status.ok()) << "accepted";
  EXPECT_EQ(status.code(), Code::Illegal);
  EXPECT_NE(status.where().find(breach.where), std::string::npos) << status.where() << ": " << status.message();
  EXPECT_NE(status.message().find(breach.rule), std::string::npos) << status.where() << ": " << status.message();
}

}  // namespace openbpu::testing
