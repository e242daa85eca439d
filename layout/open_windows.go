package layout

import "os"

// openBlob opens a blob for reading.
const openBlob = os.O_RDONLY
