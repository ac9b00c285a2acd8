// Package credential gets the credentials that a job is given for as long as it lives, and gives them back.
//
// A client asks for a job with a lease: so much money, these models, until then. An issuer outside of the runtime makes a
// credential of that, which the client's program uses with the service behind the issuer. The edge asks a [Provisioner]
// for it before it accepts the job, shows it to the client that submitted the job and to nobody else, and has it revoked
// when the job has ended, however it ended (open dialect CR-1 to CR-4).
//
// There are two provisioners: [HTTP] asks an endpoint, and [JWT] signs short-lived tokens itself. A [Keyring] seals the
// secrets while they have to be kept.
//
// Nothing here logs. No error repeats a secret: not the value of a credential, not the token of the endpoint, not a key.
package credential
