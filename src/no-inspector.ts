/**
 * SIGUSR1 opens Node's inspector: from then on every user of the machine may run code in this process, beside the PIN and the
 * HSM's session. Others take USR1 for "open the log anew", so it is sent by habit. With a listener it does nothing.
 *
 * To be imported first by the entry of every process: until then Node answers the signal.
 */

process.on('SIGUSR1', () => {})
