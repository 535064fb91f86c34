export const job = {
  opens: 'logged-in',
  run: (token) => token.module.sign(token.session, Buffer.alloc(32), Buffer.alloc(128)),
}
