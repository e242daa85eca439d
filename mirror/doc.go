// Package mirror moves artifacts between registries and verified content. It is
// the only part of airdeck that opens network connections.
//
// A [Client] speaks the OCI distribution protocol
// (https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md)
// through oras-go. [Client.Pull] brings artifacts into a layout. [Client.Plan]
// compares verified content with what a registry has, and [Plan.Push] sends the
// difference: for each artifact its blobs, then its manifests, children before
// parents, then what refers to them, and the tag last. What was sent is read
// back. [Plan.Compare] does that without sending anything.
//
// # What is repeated
//
// Requests that failed with 408, 429, 5xx, a reset or a timeout are repeated, five times
// at most, with growing pauses. Half as many as were under way at that host are then
// under way at once, and one more again whenever as many went well. A host that asks
// for a pause with Retry-After is left alone for so long by all requests. What can't be
// done within [Patience] is given up, with what the host said last: a pause is never cut
// short.
//
// A download that breaks off goes on where it stopped, if the registry serves ranges, and
// starts again otherwise. An upload starts again. No transfer has a time limit, but one
// that moves no byte for a minute is given up and repeated. Content that does not hash is
// asked for once more, and what a registry claims to have and does not give back is sent
// once after all.
//
// # Credentials
//
// They come from the Docker configuration and its helpers, or from the options,
// and go to the registry that they are for and to nobody else: not along
// redirects to another origin, and to a token service that the registry names only
// with TLS, or where plain HTTP was asked for. Plain HTTP is spoken with hosts for
// which it was asked for, and with loopback.
package mirror
