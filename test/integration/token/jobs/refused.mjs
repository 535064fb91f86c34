/** What a token says that is full, or that may only be read. */
import { Pkcs11Error } from '../../../../dist/hsm/host/pkcs11.js'

export const job = {
  opens: 'logged-in',
  run(_token, { args }) {
    throw new Pkcs11Error('C_GenerateKeyPair', args.rv)
  },
}
