// Does nothing in the book as it is read from a disk or a site. The server of `make lab` sends
// tools/lab/page.js in place of this file.
