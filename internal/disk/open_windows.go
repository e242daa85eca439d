package disk

import "os"

// openFlags are those for reading.
const openFlags = os.O_RDONLY
