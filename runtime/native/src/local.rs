pub struct LocalProvider; pub struct LocalStorage;
