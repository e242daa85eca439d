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
// Requests that failed with 408, 429, 5xx, a reset or a timeout are repeated
// with growing pauses, and a Retry-After is honoured. A download that breaks off
// goes on where it stopped, if the registry serves ranges, and starts again
// otherwise. An upload starts again. No transfer has a time limit, but one that
// moves no byte for a minute is given up and repeated.
//
// # Credentials
//
// They come from the Docker configuration and its helpers, or from the options,
// and go to the registry that they are for and to nobody else: not along
// redirects to another origin, not to a token service that the registry names
// without TLS. Plain HTTP is spoken with hosts for which it was asked for, and
// with loopback.
package mirror
